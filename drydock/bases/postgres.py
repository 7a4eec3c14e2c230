"""`postgres`: Debian's PostgreSQL behind an entrypoint that understands what the official image's does."""

from __future__ import annotations

import re
import shutil
import time
from typing import TYPE_CHECKING, Any

from drydock.bases import apt, tools
from drydock.bases.debian import FILES, PATH, Debian
from drydock.bases.recipe import Recipe, Say
from drydock.bases.slim import slim
from drydock.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

DATA = "/var/lib/postgresql/data"
HOME = "/var/lib/postgresql"


class Postgres(Recipe):
    """The one PostgreSQL that the Debian release has, whatever version was asked for."""

    def __init__(self) -> None:
        """Debian chooses the version."""
        self.parent = Debian()
        self.name = f"postgres:{self.parent.suite}"
        self.note = f"PostgreSQL of Debian {self.parent.suite}, whichever version that is, in locale C.UTF-8"

    def make(self, root: Path, say: Say) -> dict[str, Any]:
        """Install the server, its client and its contributed extensions."""
        start = time.time()
        doing = f"making {self.name}"
        tools.run(tools.inside(root, ["groupadd", "--system", "--gid", "999", "postgres"]), doing=doing)
        user = ["--system", "--uid", "999", "--gid", "postgres", "--home-dir", HOME, "--shell", "/bin/bash", "postgres"]
        tools.run(tools.inside(root, ["useradd", *user]), doing=doing)
        no_cluster = root / "etc/postgresql-common/createcluster.conf"
        no_cluster.parent.mkdir(parents=True)
        no_cluster.write_text("create_main_cluster = false\n")
        apt.install(root, ["postgresql"], doing=doing)
        major = set_up(root)
        shutil.copy(FILES / "postgres-entrypoint.sh", root / "usr/local/bin/docker-entrypoint.sh")
        (root / "docker-entrypoint-initdb.d").mkdir()
        folders = ["install", "--directory", "--owner=postgres", "--group=postgres"]
        tools.run(tools.inside(root, [*folders, "--mode=3777", "/var/run/postgresql"]), doing=doing)
        tools.run(tools.inside(root, [*folders, "--mode=0700", DATA]), doing=doing)
        slim(root, since=start)
        say(f"{self.name}: PostgreSQL {major} from Debian packages")
        return {
            "Env": [
                f"PATH={PATH}:/usr/lib/postgresql/{major}/bin",
                "LANG=C.UTF-8",
                f"PG_MAJOR={major}",
                f"PGDATA={DATA}",
            ],
            "Entrypoint": ["docker-entrypoint.sh"],
            "Cmd": ["postgres"],
            "ExposedPorts": {"5432/tcp": {}},
            "Volumes": {DATA: {}},
            "StopSignal": "SIGINT",
        }


def set_up(root: Path) -> str:
    """Let new clusters listen on all addresses, drop what is random, and return the server's major version."""
    samples = list(root.glob("usr/share/postgresql/*/postgresql.conf.sample"))
    if len(samples) != 1:
        raise ImageError(f"expected one PostgreSQL server among the packages, found {len(samples)}")
    sample = samples[0]
    text, changes = re.subn(r"(?m)^#?listen_addresses = 'localhost'", "listen_addresses = '*'", sample.read_text())
    if changes != 1:
        raise ImageError("PostgreSQL's sample configuration has no listen_addresses: its layout has changed")
    sample.write_text(text)
    # A key pair that the package ssl-cert made just now.
    (root / "etc/ssl/private/ssl-cert-snakeoil.key").unlink(missing_ok=True)
    for certificate in root.glob("etc/ssl/certs/*"):
        if certificate.name == "ssl-cert-snakeoil.pem" or (certificate.is_symlink() and not certificate.exists()):
            certificate.unlink()
    return sample.parent.name

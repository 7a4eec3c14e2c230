"""`registry`: Debian's docker-registry, laid out as in the official image."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

from drydock.bases import apt
from drydock.bases.debian import FILES, PATH, Debian
from drydock.bases.recipe import Recipe, Say
from drydock.bases.slim import slim

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION = "/etc/distribution/config.yml"


class Registry(Recipe):
    """An OCI registry that keeps its images in /var/lib/registry."""

    def __init__(self) -> None:
        """Debian chooses the version."""
        self.parent = Debian()
        self.name = f"registry:{self.parent.suite}"
        self.note = f"docker-registry of Debian {self.parent.suite}, whichever version that is"

    def make(self, root: Path, say: Say) -> dict[str, Any]:
        """Install the registry and its configuration, which REGISTRY_… variables override."""
        start = time.time()
        apt.install(root, ["docker-registry"], doing=f"making {self.name}")
        (root / "usr/local/bin/registry").symlink_to("/usr/bin/docker-registry")
        configuration = root / CONFIGURATION.removeprefix("/")
        configuration.parent.mkdir()
        shutil.copy(FILES / "registry.yml", configuration)
        shutil.copy(FILES / "registry-entrypoint.sh", root / "entrypoint.sh")
        (root / "var/lib/registry").mkdir(exist_ok=True)
        slim(root, since=start)
        say(f"{self.name}: docker-registry from Debian packages")
        return {
            "Env": [f"PATH={PATH}", "OTEL_TRACES_EXPORTER=none"],
            "Entrypoint": ["/entrypoint.sh"],
            "Cmd": [CONFIGURATION],
            "ExposedPorts": {"5000/tcp": {}},
            "Volumes": {"/var/lib/registry": {}},
        }

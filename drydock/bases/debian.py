"""`debian`: the host's own release, from the host's own package sources."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.bases import apt, tools
from drydock.bases.recipe import Recipe, Say
from drydock.bases.slim import slim

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = Path(__file__).parent / "files"
HOOKS = Path("/usr/share/mmdebstrap/hooks")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def mmdebstrap(suite: str, root: Path, sources: Sequence[Path], settings: Sequence[str]) -> list[str]:
    """Return the argv that makes a minimal Debian in the empty directory `root`."""
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--include=ca-certificates"]
    if suite == "bookworm":
        # Without it this release merges /usr by a script in Perl, and drags in 50 MB for that.
        argv.append(f"--hook-dir={HOOKS}/merged-usr")
    argv.append("--dpkgopt=force-unsafe-io")
    argv.append(f"--extract-hook=cp '{FILES}/dpkg-slim.cfg' \"$1/etc/dpkg/dpkg.cfg.d/slim\"")
    argv += [f"--aptopt={setting}" for setting in settings]
    return [*argv, suite, str(root), *map(str, sources)]


class Debian(Recipe):
    """Debian's minimal system with the usual certificate authorities."""

    def __init__(self, asked: str = "debian") -> None:
        """Stand in for `asked`, which is `debian` or a distribution that there are no packages of."""
        self.suite = apt.codename()
        self.name = f"debian:{self.suite}"
        self.note = f"Debian {self.suite} from packages"
        if asked != "debian":
            self.note += f" (not {asked}: use apt-get and the GNU tools)"

    def make(self, root: Path, say: Say) -> dict[str, Any]:
        """Make the tree."""
        say(f"{self.name}: installing Debian's minimal system")
        tools.require("mmdebstrap", "mmdebstrap")
        start = time.time()
        with tempfile.TemporaryDirectory(prefix="drydock-debian-") as folder:
            sources = apt.write_sources(Path(folder), self.suite)
            argv = mmdebstrap(self.suite, root, sources, apt.fetch_settings())
            env = os.environ | {"SOURCE_DATE_EPOCH": "0", "TMPDIR": folder, "LC_ALL": "C.UTF-8"}
            tools.run(tools.isolated(argv), doing=f"making {self.name}", env=env)
        forget_credentials(root)
        slim(root, since=start)
        return {"Env": [f"PATH={PATH}"], "Cmd": ["bash"]}


def forget_credentials(root: Path) -> None:
    """Take user names and passwords out of the addresses of the package sources that stay in the tree."""
    for source in [*root.glob("etc/apt/sources.list"), *root.glob("etc/apt/sources.list.d/*")]:
        source.write_text(re.sub(r"://[^/@\s]+@", "://", source.read_text()))

"""One static program of a newer Debian release than the host's, at the path at which its official image has it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.bases import apt, tools
from drydock.bases.debian import PATH, Debian
from drydock.bases.recipe import Recipe, Say
from drydock.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Program(Recipe):
    """A program as the entrypoint."""

    def __init__(self, package: str, suite: str, path: str) -> None:
        """Take `package` of the Debian release `suite`, whose program has its name, and put that at `path`."""
        self.parent = Debian()
        self.package = package
        self.suite = suite
        self.path = path
        self.name = f"{package}:{suite}"
        self.note = f"{package} of Debian {suite} on {self.parent.suite}"

    def make(self, root: Path, say: Say) -> dict[str, Any]:
        """Take the program out of its package: the rest of that release stays out of the tree."""
        with tempfile.TemporaryDirectory(prefix="drydock-program-") as folder:
            package = apt.download(self.package, self.suite, Path(folder))
            unpacked = Path(folder) / "unpacked"
            tools.run(["dpkg-deb", "--extract", str(package), str(unpacked)], doing=f"unpacking {self.package}")
            target = root / self.path.removeprefix("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy(unpacked / "usr/bin" / self.package, target)
            except FileNotFoundError as error:
                raise ImageError(f"{package.name} holds no usr/bin/{self.package}: its layout has changed") from error
        tools.run(tools.inside(root, self.probe()), doing=f"running {self.package}")
        say(f"{self.name}: {package.stem} from Debian packages")
        return {"Env": [f"PATH={PATH}"], "Entrypoint": [self.path]}

    def probe(self) -> Sequence[str]:
        """Return the argv that shows that the program runs on this release's C library."""
        return [self.path, "version"]

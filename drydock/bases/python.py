"""`python`: Debian's Python with pip, free to install packages as in the official image."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from drydock.bases import apt, tools
from drydock.bases.debian import PATH, Debian
from drydock.bases.recipe import Recipe, Say
from drydock.bases.slim import slim

if TYPE_CHECKING:
    from pathlib import Path


class Python(Recipe):
    """The one Python that the Debian release has, whatever version was asked for."""

    def __init__(self) -> None:
        """Debian chooses the version."""
        self.parent = Debian()
        self.name = f"python:{self.parent.suite}"
        self.note = f"Python of Debian {self.parent.suite}, whichever version that is, with pip from PyPI"

    def make(self, root: Path, say: Say) -> dict[str, Any]:
        """Install Python, and pip in /usr/local."""
        start = time.time()
        doing = f"making {self.name}"
        apt.install(root, ["python3"], doing=doing)
        binary = (root / "usr/bin/python3").readlink().name
        packages = root / f"usr/local/lib/{binary}/dist-packages"
        pip = ["install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:", f"--target={packages}", "pip"]
        tools.run([sys.executable, "-m", "pip", *pip], doing=doing)
        # Debian's note to people that pip should keep off; in a container of Python it is wanted.
        for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        (root / "usr/local/bin/python").symlink_to(f"/usr/bin/{binary}")
        for name in ("pip", "pip3"):
            command = root / "usr/local/bin" / name
            command.write_text('#!/bin/sh\nexec python3 -m pip "$@"\n')
            command.chmod(0o755)
        slim(root, since=start)
        say(f"{self.name}: {binary} from Debian packages")
        return {"Env": [f"PATH={PATH}", "LANG=C.UTF-8"], "Cmd": ["python3"]}

"""`alpine/git`: Debian's git."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from drydock.bases import apt
from drydock.bases.debian import PATH, Debian
from drydock.bases.recipe import Recipe, Say
from drydock.bases.slim import slim

if TYPE_CHECKING:
    from pathlib import Path


class Git(Recipe):
    """Git as the entrypoint."""

    def __init__(self) -> None:
        """Debian chooses the version."""
        self.parent = Debian()
        self.name = f"git:{self.parent.suite}"
        self.note = f"git of Debian {self.parent.suite}"

    def make(self, root: Path, say: Say) -> dict[str, Any]:
        """Install git."""
        start = time.time()
        apt.install(root, ["git"], doing=f"making {self.name}")
        (root / "git").mkdir()
        slim(root, since=start)
        say(f"{self.name}: git from Debian packages")
        return {"Env": [f"PATH={PATH}"], "Entrypoint": ["git"], "Cmd": ["--help"], "WorkingDir": "/git"}

"""What a recipe is."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Say = Callable[[str], None]
else:
    Say = Any


class Recipe(ABC):
    """How one base image is made.

    Two recipes with the same `key` make the same image, so it is made once per key and kept.
    """

    name: str
    """Repository and tag of what is made, such as `node:24`."""

    note: str
    """What is really used, in one line for the person who asked for something else."""

    parent: Recipe | None = None
    """The recipe whose tree this one starts from."""

    @cached_property
    def key(self) -> str:
        """Identity: what was asked for, what it starts from, and the code that makes it."""
        digest = hashlib.sha256(f"{self.name}\n{self.note}\n".encode())
        digest.update((self.parent.key if self.parent else "").encode())
        digest.update(_recipe_code())
        return digest.hexdigest()

    @abstractmethod
    def make(self, root: Path, say: Say) -> dict[str, Any]:
        """Fill `root`, which holds the parent's tree or nothing, and return the OCI image config's `config`.

        Raises `ImageError` with the failing tool's own words, or `HostToolError` where a tool is missing.
        """


def _recipe_code() -> bytes:
    """Digest of the files in this folder: whoever changes a recipe need not remember to bump a number."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.read_bytes())
    return digest.digest()

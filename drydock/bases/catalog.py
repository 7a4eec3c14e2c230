"""Which recipe stands in for which image reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from drydock.bases.debian import Debian
from drydock.bases.git import Git
from drydock.bases.kubectl import Kubectl
from drydock.bases.node import Node
from drydock.bases.postgres import Postgres
from drydock.bases.program import Program
from drydock.bases.python import Python
from drydock.bases.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from drydock.bases.recipe import Recipe


class Name(NamedTuple):
    """The parts of an image reference that choose a recipe."""

    repository: str
    """`node`, `alpine/git`: as in Docker's own registry, without its official images' `library/`."""
    tag: str


def parse(reference: str) -> Name | None:
    """Read a reference, or return None where it is not of a well-known image.

    Well-known are Docker's short names, `library/…` on any registry, which is how mirrors carry official images, and
    what some projects publish in a registry of their own, which is then a part of the name.
    """
    rest = reference.partition("@")[0]
    path, _, tag = rest.rpartition(":") if ":" in rest.rpartition("/")[2] else (rest, "", "latest")
    first, _, after = path.partition("/")
    host = first if after and ("." in first or ":" in first or first == "localhost") else ""
    repository = after if host else path
    if "library/" in repository:
        return Name(repository.rpartition("library/")[2], tag)
    if host in {KUBERNETES, GITHUB}:
        return Name(f"{host}/{repository}", tag)
    if host not in {"", "docker.io", "index.docker.io", "registry-1.docker.io"}:
        return None
    return Name(repository, tag)


KUBERNETES = "registry.k8s.io"
GITHUB = "ghcr.io"
_RECIPES: dict[str, Callable[[Name], Recipe]] = {
    "alpine": lambda name: Debian(name.repository),
    "alpine/git": lambda _: Git(),
    "debian": lambda name: Debian(name.repository),
    "node": lambda name: Node(name.tag),
    "postgres": lambda _: Postgres(),
    "python": lambda _: Python(),
    "registry": lambda _: Registry(),
    f"{KUBERNETES}/kubectl": lambda _: Kubectl(),
    # Of the first release that has what Slipway calls: the third major version of cosign.
    f"{GITHUB}/gitleaks/gitleaks": lambda _: Program("gitleaks", "trixie", "/usr/bin/gitleaks"),
    f"{GITHUB}/sigstore/cosign/cosign": lambda _: Program("cosign", "forky", "/ko-app/cosign"),
}


def recipe_for(reference: str) -> Recipe | None:
    """Return the recipe that can stand in for an image reference, or None."""
    name = parse(reference)
    if name is None or name.repository not in _RECIPES:
        return None
    return _RECIPES[name.repository](name)

"""Provenance: which source, base and builder a release is of. Pure functions.

Source: slsa.dev, provenance v1. docs/signing.md tells what each field of a build of Slipway's means.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from pipeline.core.documents import mapping

BUILD_TYPE = "urn:slipway:build:v1"


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """What a release was built from, and by whom.

    Args:
        repository: address of the repository, https://…
        commit: full hash.
        path: of the service, relative to the repository's root.
        builder: URI of who builds, and signs.
    """

    repository: str
    commit: str
    path: str
    builder: str


def predicate(origin: Origin, *, bases: Sequence[str], platforms: Sequence[str], run: str, at: str) -> dict[str, Any]:
    """Return the predicate of a build.

    Args:
        origin: what it was built from.
        bases: the images it was built on, host/path@sha256:…
        platforms: the platforms it was built for.
        run: the run that published it.
        at: when, RFC 3339.
    """
    source = {"uri": f"git+{origin.repository}", "digest": {"gitCommit": origin.commit}}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"source": source, "path": origin.path, "platforms": list(platforms)},
            "resolvedDependencies": [source, *map(_dependency, bases)],
        },
        "runDetails": {"builder": {"id": origin.builder}, "metadata": {"invocationId": run, "finishedOn": at}},
    }


def differences(predicate: dict[str, Any], wanted: Origin) -> list[str]:
    """Return, one a line, in what a provenance is not the wanted one."""
    build = mapping(predicate.get("buildDefinition"))
    parameters = mapping(build.get("externalParameters"))
    source = mapping(parameters.get("source"))
    told = {
        "built by": (mapping(mapping(predicate.get("runDetails")).get("builder")).get("id"), wanted.builder),
        "build type": (build.get("buildType"), BUILD_TYPE),
        "repository": (source.get("uri"), f"git+{wanted.repository}"),
        "service": (parameters.get("path"), wanted.path),
        "commit": (mapping(source.get("digest")).get("gitCommit"), wanted.commit),
    }
    return [f"{name}: {found!r}, not {right!r}" for name, (found, right) in told.items() if found != right]


def _dependency(reference: str) -> dict[str, Any]:
    name, _, digest = reference.partition("@sha256:")
    return {"uri": f"oci://{name}", "digest": {"sha256": digest}} if digest else {"uri": f"oci://{name}"}

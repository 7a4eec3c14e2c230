"""SLSA provenance: the source, base images and builder of a release. Pure functions.

Source: slsa.dev, provenance v1. docs/signing.md documents each field of Slipway's build type.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from pipeline.core.documents import mapping

BUILD_TYPE = "urn:slipway:build:v1"


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """The source and builder of a release.

    Args:
        repository: address of the repository, https://…
        commit: full hash.
        path: the service's folder, relative to the repository's root.
        builder: URI of the builder, which is the signer.
    """

    repository: str
    commit: str
    path: str
    builder: str


def predicate(origin: Origin, *, bases: Sequence[str], platforms: Sequence[str], run: str, at: str) -> dict[str, Any]:
    """Return the provenance predicate of a build.

    Args:
        origin: source and builder.
        bases: the base images, host/path@sha256:…
        platforms: the platforms of the image.
        run: id of the run that published it.
        at: time of publication, RFC 3339.
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


def differences(predicate: dict[str, Any], expected: Origin) -> list[str]:
    """Return the fields in which a provenance differs from the expected one, one per line."""
    build = mapping(predicate.get("buildDefinition"))
    parameters = mapping(build.get("externalParameters"))
    source = mapping(parameters.get("source"))
    fields = {
        "builder": (mapping(mapping(predicate.get("runDetails")).get("builder")).get("id"), expected.builder),
        "build type": (build.get("buildType"), BUILD_TYPE),
        "repository": (source.get("uri"), f"git+{expected.repository}"),
        "service": (parameters.get("path"), expected.path),
        "commit": (mapping(source.get("digest")).get("gitCommit"), expected.commit),
    }
    return [f"{name}: {actual!r}, expected {right!r}" for name, (actual, right) in fields.items() if actual != right]


def _dependency(reference: str) -> dict[str, Any]:
    name, _, digest = reference.partition("@sha256:")
    return {"uri": f"oci://{name}", "digest": {"sha256": digest}} if digest else {"uri": f"oci://{name}"}

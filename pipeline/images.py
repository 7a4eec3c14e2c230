"""Every image that Slipway runs, pinned by digest.

To refresh one: resolve the tag (`docker buildx imagetools inspect node:24-alpine`), replace the digest here, and run
`./test`. The caller can replace any of them, by a mirror, an air-gapped registry or a plain tag.
"""

from typing import Annotated

from dagger import Doc

from pipeline.core.sdk import field, object_type

NODE = "node:24-alpine@sha256:a0b9bf06e4e6193cf7a0f58816cc935ff8c2a908f81e6f1a95432d679c54fbfd"
# What asks registries, reads digests and smoke-tests: it is never the service's own image.
TOOL = "node:24-alpine@sha256:a0b9bf06e4e6193cf7a0f58816cc935ff8c2a908f81e6f1a95432d679c54fbfd"
POSTGRES = "postgres:17-alpine@sha256:742f40ea20b9ff2ff31db5458d127452988a2164df9e17441e191f3b72252193"
REGISTRY = "registry:3@sha256:1be55279f18a2fe1a74edf2664cac61c1bea305b7b4642dab412e7affdcb3e33"
GIT = "alpine/git:v2.52.0@sha256:d453f54c83320412aa89c391b076930bd8569bc1012285e8c68ce2d4435826a3"
# Not 0.69.4 to 0.69.6: those were malicious (CVE-2026-33634). Compare a new digest in several places before using it.
TRIVY = "aquasec/trivy:0.75.0@sha256:af6acf9a6b85dfe389a1941505c0ce9efef52a4719635e1a962f022a3d855daa"

KUBECTL = "registry.k8s.io/kubectl:v1.34.1@sha256:59bafa07ff3a6d4b417e7633ddb9d79a9606ca98bf64bac080b3e65748669250"
GITLEAKS = "ghcr.io/gitleaks/gitleaks:v8.30.1@sha256:c00b6bd0aeb3071cbcb79009cb16a60dd9e0a7c60e2be9ab65d25e6bc8abbb7f"
COSIGN = "ghcr.io/sigstore/cosign/cosign:v3.1.3@sha256:9e5c2f2edc34351160407ca3416c61855bdf9403c3c5936e0f0be7fc261611b8"


@object_type
class Images:
    """The images that the stages run in."""

    node: Annotated[str, Doc("Node, for checking, building and running the service.")] = field(default=NODE)
    tool: Annotated[str, Doc("Node, for Slipway's own programs: they ask registries, read digests, smoke-test.")] = (
        field(default=TOOL)
    )
    postgres: Annotated[str, Doc("PostgreSQL, for integration tests and rehearsals.")] = field(default=POSTGRES)
    registry: Annotated[str, Doc("The throwaway registry of a rehearsal.")] = field(default=REGISTRY)
    git: Annotated[str, Doc("Git, which reads the commit of the source.")] = field(default=GIT)
    trivy: Annotated[str, Doc("Trivy, the scanner.")] = field(default=TRIVY)
    kubectl: Annotated[str, Doc("kubectl, for Kubernetes environments.")] = field(default=KUBECTL)
    cosign: Annotated[str, Doc("Cosign, which signs and verifies: only its binary is used.")] = field(default=COSIGN)
    gitleaks: Annotated[str, Doc("Gitleaks, which searches for secrets.")] = field(default=GITLEAKS)

"""What is deployed."""

import dataclasses
from collections.abc import Sequence

from pipeline.kubernetes.manifests import Manifest, with_release
from pipeline.oci.references import DigestReference


@dataclasses.dataclass(frozen=True, slots=True)
class DeployRequest:
    """A release to deploy, and what the history records about it.

    Args:
        reference: host/path@sha256:…
        commit: the commit that the release was built from.
        committed_at: time of the commit, RFC 3339, or empty.
        migrates: whether the image has migrations.
        action: `deploy`, `promote` or `rollback`.
        approved_by: who approved it, or empty.
        link: address of the CI run, or empty.
        unsigned: why it is deployed without a signature, or empty.
    """

    reference: str
    commit: str
    committed_at: str
    migrates: bool
    action: str
    approved_by: str = ""
    link: str = ""
    unsigned: str = ""

    @property
    def image(self) -> DigestReference:
        """The parsed reference."""
        return DigestReference.parse(self.reference)

    def prepare(self, objects: Sequence[Manifest], service: str, run: str) -> list[Manifest]:
        """Return manifests with the release as image of the service, annotated with where it comes from."""
        annotations = {
            "service": service,
            "commit": self.commit,
            "digest": self.image.digest,
            "run": self.link or run,
        }
        return with_release(objects, service, self.image, annotations)

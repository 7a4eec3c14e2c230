"""Verifying a release before it is deployed: signature, provenance and SBOM."""

import dataclasses
from collections.abc import Sequence

import dagger

from pipeline.core.errors import RegistryError, StageFailedError, UnsignedError, VerificationFailedError
from pipeline.core.log import log
from pipeline.images import Images
from pipeline.oci.registry import Registry
from pipeline.signing import cosign, provenance
from pipeline.signing.client import CosignClient, text_file
from pipeline.signing.policy import VerificationPolicy
from pipeline.signing.provenance import Origin

# Cosign's errors where signatures exist and none matches, as opposed to where it could not read them.
NO_MATCH = ("no matching", "none of the attestations matched")
# The statements that a release needs, with the predicate types that each may have.
REQUIRED = {
    "signature": {cosign.SIGNATURE},
    "provenance": {cosign.PROVENANCE},
    "SBOM": set(cosign.SBOMS.values()),
}


async def verify(registry: Registry, digest: str, commit: str, *, images: Images, policy: VerificationPolicy) -> str:
    """Verify a release's signature, provenance and SBOM; return the name of their signer.

    Args:
        registry: the registry of the release.
        digest: sha256:… of the release.
        commit: the commit in the image's label, which the provenance must name too.
        images: the images that the stages run in.
        policy: the required signer, repository and service.

    Raises:
        UnsignedError: if the release has no signature, or no policy is configured.
        VerificationFailedError: if one of the three is missing, or does not match the policy.
    """
    _check_usable(policy)
    release = f"{registry.address}@{digest}"
    client = _with_policy(await CosignClient.connect(registry, digest, images), policy)
    argv = cosign.verify_argv(client.reference, policy, commit, http=client.http)
    try:
        types = cosign.parse_types(await _call(client, argv, release, policy))
    except UnsignedError:
        await _check_nothing_attached(registry, digest)
        raise
    if missing := [name for name, accepted in REQUIRED.items() if not types & accepted]:
        raise VerificationFailedError(
            f"{release} has no {' and no '.join(missing)} by {policy.signer_name}",
            hint="`publish` attaches all three, the signature last: run it again",
        )
    argv = cosign.provenance_argv(client.reference, policy, commit, http=client.http)
    predicates = cosign.parse_predicates(await _call(client, argv, release, policy))
    expected = Origin(repository=policy.repository, commit=commit, path=policy.path, builder=policy.builder)
    differences = [provenance.differences(predicate, expected) for predicate in predicates]
    if all(differences):
        raise VerificationFailedError(
            f"{release} has no provenance of the expected repository and commit",
            output="\n".join(differences[-1] if differences else ["none"]),
            hint="do not deploy it before you know who signed it, and why",
        )
    return policy.signer_name


async def verify_for_deploy(
    registry: Registry, digest: str, commit: str, *, images: Images, policy: VerificationPolicy
) -> str:
    """Verify a release before a deployment; return why it is deployed unsigned, or an empty string.

    `allow_unsigned` of the policy accepts a release without a signature, never one with a wrong signature.

    Raises:
        VerificationFailedError: if the release must not be deployed.
    """
    try:
        signer_name = await verify(registry, digest, commit, images=images, policy=policy)
    except UnsignedError as error:
        if not policy.allow_unsigned:
            raise
        log("verify", f"warning: NOT VERIFIED, deployed because of --allow-unsigned: {error.problem}")
        return error.problem
    log("verify", f"signature, provenance and SBOM are by {signer_name}")
    return ""


def _check_usable(policy: VerificationPolicy) -> None:
    """Check that the policy names a signer and a repository."""
    if not policy.configured:
        raise UnsignedError(
            "no verification policy is configured",
            hint="commit cosign.pub or call `with-verification` (docs/signing.md); --allow-unsigned deploys without",
        )
    if not policy.repository:
        raise VerificationFailedError(
            "the repository that the provenance must name is unknown",
            hint="add a remote `origin` to the source's Git, or call `with-verification --repository https://…`",
        )


async def _check_nothing_attached(registry: Registry, digest: str) -> None:
    """Check that an image without a signature, as cosign reports it, has none: a 403 or 503 looks the same to cosign.

    Raises:
        VerificationFailedError: if something is attached to the image, or the registry fails.
    """
    problem = f"{registry.address}@{digest} cannot be verified"
    hint = "check the health of the registry, then run it again"
    try:
        attached = await registry.attached(digest)
    except RegistryError as error:
        raise VerificationFailedError(problem, output=error.problem, hint=hint) from error
    if attached:
        raise VerificationFailedError(problem, output="it has attachments, and cosign could not read them", hint=hint)


async def _call(client: CosignClient, argv: Sequence[str], release: str, policy: VerificationPolicy) -> str:
    """Run a verification and return its output.

    Raises:
        UnsignedError: if the release has no signature at all.
        VerificationFailedError: with cosign's output, if no signature matches the policy, or none can be read.
    """
    try:
        return await client.call(argv)
    except StageFailedError as error:
        if isinstance(error.__cause__, dagger.ExecError) and error.__cause__.exit_code == cosign.NO_SIGNATURE:
            raise UnsignedError(
                f"{release} is not signed",
                hint="publish it with a signer (`with-signer`, docs/signing.md); --allow-unsigned deploys without",
            ) from error
        reasons = [line for line in error.output.splitlines() if line.startswith("Error: ")][:1]
        if any(reason in line for reason in NO_MATCH for line in reasons):
            problem = f"{release} is not signed by {policy.signer_name}"
            hint = "its signatures are by another signer, or of another image"
        else:
            problem = f"{release} cannot be verified"
            hint = "check that the registry is reachable, and for a keyless signature Sigstore"
        raise VerificationFailedError(problem, output="\n".join(reasons), hint=hint) from error


def _with_policy(client: CosignClient, policy: VerificationPolicy) -> CosignClient:
    """Mount what cosign verifies with."""
    container = client.container
    if policy.public_key or policy.trusted_root:
        container = container.with_mounted_file(cosign.TRUSTED_ROOT, policy.trusted_root or text_file(cosign.NO_ROOTS))
    if policy.public_key:
        container = container.with_mounted_file(cosign.PUBLIC_KEY_PATH, text_file(policy.public_key))
    return dataclasses.replace(client, container=container)

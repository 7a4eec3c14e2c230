"""Checking whose a release is, before it is deployed."""

import dataclasses
from collections.abc import Sequence

import dagger

from pipeline.core.errors import RegistryError, StageFailedError, UnsignedError, VerificationFailedError
from pipeline.core.log import log
from pipeline.images import Images
from pipeline.oci.registry import Registry
from pipeline.signing import cosign, provenance
from pipeline.signing.client import Target, file_of
from pipeline.signing.policy import VerificationPolicy
from pipeline.signing.provenance import Origin

# How cosign says that what it found does not match, as opposed to that it could not look.
NO_MATCH = ("no matching", "none of the attestations matched")


async def verify(
    registry: Registry, digest: str, commit: str, *, images: Images, trust: VerificationPolicy, what: str
) -> str:
    """Check a release's signature, provenance and SBOM; return whose they are.

    Args:
        registry: where the release is.
        digest: sha256:… of it.
        commit: that it says it is of: the provenance must say so, too.
        images: that the stages run in.
        trust: whose signature is asked for, and which repository's provenance.
        what: opens an error, such as "deploy to staging".

    Raises:
        UnsignedError: if it has no signature, or nobody's is asked for.
        VerificationFailedError: if any of the three is missing, or of somebody or something else.
    """
    if not trust.asks:
        raise UnsignedError(
            f"{what}: nobody is trusted to sign releases",
            hint="commit cosign.pub, or call `with-trust` (docs/signing.md); for the first day, --allow-unsigned",
        )
    if not trust.repository:
        raise VerificationFailedError(
            f"{what}: it is not known of which repository the release must be",
            hint="give the source's Git a remote `origin`, or `with-trust --repository https://…`",
        )
    release = f"{registry.address}@{digest}"
    target = await Target.of(registry, digest, images)
    asked = _with_trust(target, trust)
    argv = cosign.verify_argv(target.reference, trust, commit, http=target.http)
    try:
        types = cosign.parse_types(await _verified(asked, argv, trust, what=f"{what}: {release}"))
    except UnsignedError:
        await _check_bare(registry, digest, what=what)
        raise
    missing = [name for name, wanted in _WANTED.items() if not types & wanted]
    if missing:
        raise VerificationFailedError(
            f"{what}: {release} has no {' and no '.join(missing)} of {trust.whom}",
            hint="`publish` attaches all three, the signature last: run it again",
        )
    argv = cosign.provenance_argv(target.reference, trust, commit, http=target.http)
    stated = cosign.parse_predicates(await _verified(asked, argv, trust, what=f"{what}: {release}"))
    wanted = Origin(repository=trust.repository, commit=commit, path=trust.path, builder=trust.builder)
    told = [provenance.differences(predicate, wanted) for predicate in stated]
    if all(told):
        raise VerificationFailedError(
            f"{what}: {release} has no provenance of the commit and repository that it says it is of",
            output="\n".join(told[-1] if told else ["none"]),
            hint="do not deploy this, before it is known who signed it, and why",
        )
    return trust.whom


async def verify_for_deploy(
    registry: Registry,
    digest: str,
    commit: str,
    *,
    images: Images,
    trust: VerificationPolicy,
    what: str,
    allow_unsigned: bool,
) -> str:
    """Verify a release before it is deployed; return why it goes on unsigned, or an empty string.

    A signature that is there, and wrong, is never let through.

    Raises:
        VerificationFailedError: if it may not be deployed.
    """
    try:
        whom = await verify(registry, digest, commit, images=images, trust=trust, what=what)
    except UnsignedError as error:
        if not allow_unsigned:
            raise
        reason = error.problem.removeprefix(f"{what}: ")
        log("verify", f"NOT VERIFIED, and deployed all the same (--allow-unsigned): {reason}")
        return reason
    log("verify", f"signature, provenance and SBOM are of {whom}")
    return ""


_WANTED = {
    "signature": {cosign.SIGNATURE},
    "provenance": {cosign.PROVENANCE},
    "SBOM": set(cosign.SBOMS.values()),
}


async def _check_bare(registry: Registry, digest: str, *, what: str) -> None:
    """Refuse an image to which something is attached though cosign saw nothing: it takes a registry's failure for that.

    Raises:
        VerificationFailedError: if so, or if the registry does not tell.
    """
    problem, hint = f"{what}: {registry.address}@{digest} cannot be verified", "is the registry well? Run it again"
    try:
        attached = await registry.attached(digest)
    except RegistryError as error:
        raise VerificationFailedError(problem, output=error.problem, hint=hint) from error
    if attached:
        raise VerificationFailedError(
            problem, output="something is attached to it, which cosign could not read", hint=hint
        )


async def _verified(asked: Target, argv: Sequence[str], trust: VerificationPolicy, *, what: str) -> str:
    """Run a verification and return what it prints.

    Raises:
        UnsignedError: if nothing is signed at all.
        VerificationFailedError: with cosign's output, if the signature is another signer's, or cannot be read.
    """
    try:
        return await asked.call(argv, what="verify")
    except StageFailedError as error:
        if isinstance(error.__cause__, dagger.ExecError) and error.__cause__.exit_code == cosign.UNSIGNED:
            raise UnsignedError(
                f"{what} is not signed",
                hint="publish it with `with-signer` (docs/signing.md); for the first day, --allow-unsigned",
            ) from error
        words = [line for line in error.output.splitlines() if line.startswith("Error: ")][:1]
        if any(said in line for said in NO_MATCH for line in words):
            problem, hint = f"{what} is not signed by {trust.whom}", "somebody else signed it, or something else"
        else:
            problem, hint = (
                f"{what} cannot be verified",
                "is the registry there, and Sigstore, for a keyless signature?",
            )
        raise VerificationFailedError(problem, output="\n".join(words), hint=hint) from error


def _with_trust(target: Target, trust: VerificationPolicy) -> Target:
    """Give cosign what it verifies with."""
    container = target.container
    if trust.public_key or trust.trusted_root:
        container = container.with_mounted_file(cosign.TRUSTED_ROOT, trust.trusted_root or file_of(cosign.NO_ROOTS))
    if trust.public_key:
        container = container.with_mounted_file(cosign.PUBLIC_KEY, file_of(trust.public_key))
    return dataclasses.replace(target, container=container)

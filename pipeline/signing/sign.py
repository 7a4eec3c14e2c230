"""Signing a release, by digest."""

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress

import dagger

from pipeline.core.errors import InvalidInputError, VerificationFailedError
from pipeline.core.execution import run_id
from pipeline.core.log import log
from pipeline.images import Images
from pipeline.observe.history import now
from pipeline.oci.registry import Registry
from pipeline.scan.trivy import SBOM_FILES
from pipeline.signing import cosign, provenance
from pipeline.signing.client import Target, cosign_in, file_of
from pipeline.signing.policy import PUBLIC_KEY, Signatures, Signer, key_name
from pipeline.signing.provenance import Origin
from pipeline.signing.verify import verify
from pipeline.source.commit import Commit

STATED = "/slipway/stated.json"


async def sign(
    registry: Registry,
    digest: str,
    *,
    images: Images,
    signatures: Signatures,
    commit: Commit,
    bases: Sequence[str],
    platforms: Sequence[str],
    evidence: dagger.Directory,
) -> None:
    """Attach SBOM, provenance and, last, the signature, unless they are there: a release with a signature has all.

    Where somebody's signature is asked for, it counts only once it verifies.

    Args:
        registry: where the release is.
        digest: sha256:… of it.
        images: that the stages run in.
        signatures: who signs, and is trusted.
        commit: that it was built from.
        bases: the images that it was built on.
        platforms: that it was built for.
        evidence: what the scanner wrote; empty where a rehearsal went on without it.

    Raises:
        InvalidInputError: if there is nobody to sign, or no repository to name.
        StageFailedError: with cosign's own words.
        VerificationFailedError: if it is not the signature that is asked for.
    """
    signer, trust = check_signing(signatures), signatures.trust
    target = await Target.of(registry, digest, images)
    signing = _with_signer(target, signer)
    hint = "is Sigstore reachable, and the token fresh?" if signer.keyless else "is it cosign's key, and its password?"
    builder = trust.certificate_identity
    if signer.key:
        builder = key_name(await signing.call(cosign.public_key_argv(), what="publish: opening the key", hint=hint))
    if trust.asks and builder != trust.builder:
        raise VerificationFailedError(
            f"publish: the key that signs ({builder}) is not the one that is trusted ({trust.builder})",
            hint=f"sign with the key of {PUBLIC_KEY}, or commit the other one's",
        )

    async def verified() -> str:
        return await verify(registry, digest, commit.sha, images=images, trust=trust, what="publish")

    if trust.asks:
        with suppress(VerificationFailedError):
            log("publish", f"it is signed by {await verified()} already")
            return
    origin = Origin(repository=trust.repository, commit=commit.sha, path=commit.path, builder=builder)
    statement = provenance.predicate(origin, bases=bases, platforms=platforms, run=run_id(), at=now())
    form = signer.sbom.value
    boms = [evidence.file(path) for path in await evidence.glob(f"**/{SBOM_FILES[form]}")]
    stated = [*((form, bom) for bom in boms), ("provenance", file_of(json.dumps(statement)))]
    # One after the other: where a registry has no referrers, each adds itself to the same tag.
    for kind, file in stated:
        given = dataclasses.replace(signing, container=signing.container.with_mounted_file(STATED, file))
        argv = cosign.attest_argv(target.reference, signer, kind, STATED, http=target.http)
        await given.call(argv, what=f"publish: signing the {kind}", hint=hint)
    await signing.call(cosign.sign_argv(target.reference, signer, http=target.http), what="publish: signing", hint=hint)
    log("publish", f"signed, with provenance and {f'SBOM ({form})' if boms else 'no SBOM: it was not scanned'}")
    if trust.asks and boms:
        log("publish", f"it verifies as signed by {await verified()}")


def check_signing(signatures: Signatures) -> Signer:
    """Return who signs.

    Raises:
        InvalidInputError: if that is nobody, or provenance could not name the builder or the repository.
    """
    if signatures.signer is None:
        raise InvalidInputError("publish: there is nobody to sign", hint="call `with-signer`")
    if signatures.signer.keyless and not signatures.trust.certificate_identity:
        raise InvalidInputError(
            "publish: a keyless signature is of an identity, which is not told",
            hint="`with-trust --signed-by …`, such as https://github.com/org/app/.github/workflows/ship.yml@refs/heads/main",
        )
    if not signatures.trust.repository:
        raise InvalidInputError(
            "publish: provenance names the repository, and its address is not known",
            hint="give the source's Git a remote `origin`, or `with-trust --repository https://…`",
        )
    return signatures.signer


async def key_pair(images: Images, password: dagger.Secret) -> dagger.Directory:
    """Make a new key pair: cosign.key, which the password opens, and cosign.pub."""
    fresh = cosign_in(images).with_secret_variable("COSIGN_PASSWORD", password)
    made = fresh.with_env_variable("SLIPWAY_RUN", run_id()).with_workdir("/made")
    return await made.with_exec(cosign.key_pair_argv("cosign")).directory("/made").sync()


def _with_signer(target: Target, signer: Signer) -> Target:
    """Give cosign what it signs with: mounted, so that it is in no layer."""
    container = target.container
    if signer.key or signer.signing_config:
        config = signer.signing_config or file_of(cosign.NO_SERVICES)
        container = container.with_mounted_file(cosign.SIGNING_CONFIG, config)
    if signer.key:
        container = container.with_mounted_file(cosign.TRUSTED_ROOT, file_of(cosign.NO_ROOTS))
        container = container.with_mounted_secret(cosign.KEY, signer.key)
        if signer.password:
            container = container.with_secret_variable("COSIGN_PASSWORD", signer.password)
        else:
            container = container.with_env_variable("COSIGN_PASSWORD", "")
    if signer.identity_token:
        container = container.with_mounted_secret(cosign.TOKEN, signer.identity_token)
    if signer.request_token:
        container = container.with_env_variable("ACTIONS_ID_TOKEN_REQUEST_URL", signer.request_url)
        container = container.with_secret_variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN", signer.request_token)
    return dataclasses.replace(target, container=container)

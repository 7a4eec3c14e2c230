"""Signing a release, by digest."""

import dataclasses
import functools
import json
from collections.abc import Sequence
from contextlib import suppress

import dagger

from pipeline.core.clock import timestamp
from pipeline.core.errors import VerificationFailedError, error_context
from pipeline.core.execution import run_id, with_run_id
from pipeline.core.log import log
from pipeline.images import Images
from pipeline.oci.registry import Registry
from pipeline.scan.trivy import SBOM_FILES
from pipeline.signing import cosign, provenance
from pipeline.signing.client import CosignClient, cosign_container, text_file
from pipeline.signing.keys import PUBLIC_KEY, key_uri
from pipeline.signing.policy import Signer, VerificationPolicy, check_signing
from pipeline.signing.provenance import Origin
from pipeline.signing.verify import verify
from pipeline.source.commit import Commit

PREDICATE = "/slipway/predicate.json"
KEY_PAIR = "/key-pair"


@dataclasses.dataclass(frozen=True, slots=True)
class SigningRequest:
    """A release to sign, and what its provenance and SBOM are made from.

    Args:
        registry: the registry of the release.
        digest: sha256:… of the release.
        commit: the commit from which it was built.
        bases: its base images, host/path@sha256:…
        platforms: its platforms.
        evidence: the scanner's files; empty where a rehearsal went on without a scan.
    """

    registry: Registry
    digest: str
    commit: Commit
    bases: Sequence[str]
    platforms: Sequence[str]
    evidence: dagger.Directory


async def sign(request: SigningRequest, *, images: Images, signer: Signer, policy: VerificationPolicy) -> None:
    """Attach SBOM, provenance and, last, the signature, so that a release with a signature has all three.

    Nothing is attached where they are there already. The new signature is verified, if a policy is configured.

    Args:
        request: the release.
        images: the images that the stages run in.
        signer: the signer.
        policy: the policy by which the release will be verified; provenance names its repository.

    Raises:
        InvalidInputError: if the policy has no identity or repository to put into the provenance.
        StageFailedError: with cosign's output.
        VerificationFailedError: if the signature does not satisfy the policy.
    """
    check_signing(signer, policy)
    verify_release = functools.partial(
        verify, request.registry, request.digest, request.commit.sha, images=images, policy=policy
    )
    client = _with_signer(await CosignClient.connect(request.registry, request.digest, images), signer)
    hint = "is Sigstore reachable, and the token fresh?" if signer.keyless else "is it cosign's key, and its password?"
    builder = policy.certificate_identity
    if signer.key:
        with error_context("open the signing key"):
            builder = key_uri(await client.call(cosign.public_key_argv(), hint=hint))
    if policy.configured:
        _check_builder(builder, policy)
        with suppress(VerificationFailedError):
            log("publish", f"already signed by {await verify_release()}")
            return
    sboms = await _sboms(request.evidence, signer)
    for kind, file in [*sboms, ("provenance", _provenance(request, policy, builder))]:
        # One after the other: in a registry without referrers, each rewrites the same tag.
        with error_context(f"sign the {kind}"):
            await _with_predicate(client, file).call(
                cosign.attest_argv(client.reference, signer, kind, PREDICATE, http=client.http), hint=hint
            )
    with error_context("sign the image"):
        await client.call(cosign.sign_argv(client.reference, signer, http=client.http), hint=hint)
    attached = f"an SBOM ({signer.sbom.value})" if sboms else "no SBOM, because the image was not scanned"
    log("publish", f"signed, with provenance and {attached}")
    if policy.configured and sboms:
        log("publish", f"verified: signed by {await verify_release()}")


async def generate_key_pair(images: Images, password: dagger.Secret) -> dagger.Directory:
    """Generate a key pair: cosign.key, encrypted with the password, and cosign.pub."""
    generator = (
        cosign_container(images)
        .with_secret_variable("COSIGN_PASSWORD", password)
        .with_(with_run_id)
        .with_workdir(KEY_PAIR)
        .with_exec(cosign.key_pair_argv("cosign"))
    )
    return await generator.directory(KEY_PAIR).sync()


def _check_builder(builder: str, policy: VerificationPolicy) -> None:
    """Check that the signer is the one that the policy requires, before anything is attached."""
    if builder != policy.builder:
        raise VerificationFailedError(
            f"the signing key ({builder}) is not the key of the verification policy ({policy.builder})",
            hint=f"sign with the private key of {PUBLIC_KEY}, or commit the public key of the signing key",
        )


async def _sboms(evidence: dagger.Directory, signer: Signer) -> list[tuple[str, dagger.File]]:
    """Return the SBOM of every platform in the signer's format, with that format."""
    name = signer.sbom.value
    return [(name, evidence.file(path)) for path in await evidence.glob(f"**/{SBOM_FILES[name]}")]


def _provenance(request: SigningRequest, policy: VerificationPolicy, builder: str) -> dagger.File:
    """Return a file with the provenance of a release."""
    commit = request.commit
    origin = Origin(repository=policy.repository, commit=commit.sha, path=commit.path, builder=builder)
    predicate = provenance.predicate(
        origin, bases=request.bases, platforms=request.platforms, run=run_id(), at=timestamp()
    )
    return text_file(json.dumps(predicate))


def _with_predicate(client: CosignClient, file: dagger.File) -> CosignClient:
    """Mount a predicate for an attestation."""
    return dataclasses.replace(client, container=client.container.with_mounted_file(PREDICATE, file))


def _with_signer(client: CosignClient, signer: Signer) -> CosignClient:
    """Mount what cosign signs with: mounts are in no layer."""
    container = client.container
    if signer.key or signer.signing_config:
        config = signer.signing_config or text_file(cosign.NO_SERVICES)
        container = container.with_mounted_file(cosign.SIGNING_CONFIG, config)
    if signer.key:
        container = container.with_mounted_file(cosign.TRUSTED_ROOT, text_file(cosign.NO_ROOTS))
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
    return dataclasses.replace(client, container=container)

"""Signature, provenance and SBOM, with the real cosign and a real registry: a wrong one of each is refused."""

import dataclasses
import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagger
import pytest

from pipeline import images
from pipeline.core.errors import InvalidInputError, StageFailedError, UnsignedError, VerificationFailedError
from pipeline.images import Images
from pipeline.oci.registry import Registry
from pipeline.signing import cosign
from pipeline.signing.policy import SbomFormat, Signer, VerificationPolicy
from pipeline.signing.sign import SigningRequest, sign
from pipeline.signing.verify import verify, verify_for_deploy
from pipeline.slipway import Slipway
from pipeline.source.commit import Commit

Make = Callable[..., Slipway]
Scanner = Callable[[str], dagger.Container]

COMMIT = Commit(sha="a" * 40, path="service")
OTHER = "https://git.example.com/org/other"
EVIDENCE = Path(__file__).resolve().parents[1] / "fixtures" / "trivy-0.74.0"
BASE = f"node:24-alpine@sha256:{'b' * 64}"


@pytest.fixture
async def published(dag: dagger.Client, registry: dagger.Container) -> tuple[Registry, str]:
    """A registry, and the digest of an unsigned image in it."""
    service = await registry.as_service(use_entrypoint=True).start()
    image = dag.container().from_(images.NODE).with_label("org.opencontainers.image.revision", COMMIT.sha)
    reference = await image.publish("localhost:5000/org/tiny:1", registry_service=service)
    return Registry(address="localhost:5000/org/tiny", tool_image=images.TOOL, service=service), reference.partition(
        "@"
    )[2]


@pytest.fixture
def signed(dag: dagger.Client, published: tuple[Registry, str]) -> Callable[..., Any]:
    """Sign the image; without an SBOM where the caller says so."""

    async def run(signer: Signer, policy: VerificationPolicy, *, commit: Commit = COMMIT, sbom: bool = True) -> None:
        registry, digest = published
        request = SigningRequest(
            registry=registry,
            digest=digest,
            commit=commit,
            bases=[BASE],
            platforms=["linux/amd64"],
            evidence=dag.host().directory(str(EVIDENCE)) if sbom else dag.directory(),
        )
        await sign(request, images=Images(), signer=signer, policy=policy)

    return run


@pytest.fixture
def verified(published: tuple[Registry, str]) -> Callable[..., Any]:
    """Verify the image."""

    async def run(policy: VerificationPolicy, commit: str = COMMIT.sha) -> str:
        registry, digest = published
        return await verify(registry, digest, commit, images=Images(), policy=policy)

    return run


async def test_a_signed_release_verifies(keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]):
    await signed(keys.signer, keys.policy())
    assert await verified(keys.policy()) == keys.policy().signer_name


@pytest.mark.parametrize("form", list(SbomFormat))
async def test_sbom_and_provenance_are_referrers_of_the_digest(
    dag: dagger.Client,
    published: tuple[Registry, str],
    keys: Any,
    signed: Callable[..., Any],
    form: SbomFormat,
):
    await signed(dataclasses.replace(keys.signer, sbom=form), keys.policy())
    registry, digest = published
    # Read as any client of the registry would, without Sigstore's tools.
    statements = {statement["predicateType"]: statement for statement in await statements_of(dag, registry, digest)}
    assert set(statements) == {cosign.SIGNATURE, cosign.PROVENANCE, cosign.SBOMS[form.value]}
    assert {statement["subject"][0]["digest"]["sha256"] for statement in statements.values()} == {
        digest.partition(":")[2]
    }
    build = statements[cosign.PROVENANCE]["predicate"]
    source = {"uri": "git+https://git.example.com/org/tiny", "digest": {"gitCommit": COMMIT.sha}}
    base = {"uri": "oci://node:24-alpine", "digest": {"sha256": "b" * 64}}
    assert build["buildDefinition"]["resolvedDependencies"] == [source, base]
    assert build["runDetails"]["builder"]["id"] == keys.policy().builder
    stored = statements[cosign.SBOMS[form.value]]["predicate"]
    assert stored == json.loads((EVIDENCE / f"sbom.{form.value}.json").read_text())


async def test_signing_again_adds_nothing(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    await signed(keys.signer, keys.policy())
    await signed(keys.signer, keys.policy())
    assert len(await statements_of(dag, *published)) == 3


async def test_an_unsigned_release_is_refused_or_deployed_with_a_warning(
    published: tuple[Registry, str], keys: Any, verified: Callable[..., Any], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(UnsignedError, match="is not signed"):
        await verified(keys.policy())
    registry, digest = published
    policy = dataclasses.replace(keys.policy(), allow_unsigned=True)
    reason = await verify_for_deploy(registry, digest, COMMIT.sha, images=Images(), policy=policy)
    assert reason == f"localhost:5000/org/tiny@{digest} is not signed"
    assert f"NOT VERIFIED, deployed because of --allow-unsigned: {reason}" in capsys.readouterr().out


async def test_a_signature_by_another_key_is_refused_even_where_unsigned_is_allowed(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    other = await type(keys).make(dag)
    await signed(other.signer, other.policy())
    registry, digest = published
    for allow in (False, True):
        policy = dataclasses.replace(keys.policy(), allow_unsigned=allow)
        with pytest.raises(VerificationFailedError, match="is not signed by the key") as caught:
            await verify_for_deploy(registry, digest, COMMIT.sha, images=Images(), policy=policy)
        assert not isinstance(caught.value, UnsignedError)


async def test_a_signature_counts_beside_those_of_other_signers(
    dag: dagger.Client, keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    other = await type(keys).make(dag)
    await signed(other.signer, other.policy())
    await signed(keys.signer, keys.policy())
    assert await verified(keys.policy())


async def test_provenance_of_another_repository_is_refused(
    keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    await signed(keys.signer, keys.policy(OTHER))
    with pytest.raises(VerificationFailedError, match="no provenance of the expected repository and commit") as caught:
        await verified(keys.policy())
    assert "repository: 'git+https://git.example.com/org/other'" in str(caught.value)


async def test_provenance_of_another_commit_is_refused(
    keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    await signed(keys.signer, keys.policy(), commit=Commit(sha="c" * 40, path="service"))
    with pytest.raises(VerificationFailedError, match=f"commit: '{'c' * 40}', expected '{'a' * 40}'"):
        await verified(keys.policy())


async def test_provenance_of_another_service_of_the_repository_is_refused(
    keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    policy = dataclasses.replace(keys.policy(), path="other")
    await signed(keys.signer, policy, commit=Commit(sha=COMMIT.sha, path="other"))
    with pytest.raises(VerificationFailedError, match="service: 'other', expected 'service'"):
        await verified(keys.policy())


async def test_a_missing_sbom_is_refused(keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]):
    await signed(keys.signer, keys.policy(), sbom=False)
    with pytest.raises(VerificationFailedError, match="has no SBOM by the key"):
        await verified(keys.policy())


async def test_a_run_killed_before_the_signature_leaves_an_unverifiable_release(
    monkeypatch: pytest.MonkeyPatch, keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    with monkeypatch.context() as killed:
        killed.setattr(cosign, "sign_argv", lambda *_, **__: ["false"])
        with pytest.raises(StageFailedError, match="sign the image"):
            await signed(keys.signer, keys.policy())
    with pytest.raises(VerificationFailedError, match="has no signature by the key"):
        await verified(keys.policy())
    await signed(keys.signer, keys.policy())
    assert await verified(keys.policy())


async def test_a_tampered_image_has_another_digest_and_no_signature(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    await signed(keys.signer, keys.policy())
    registry, digest = published
    tampered = (await registry.pull(digest)).with_new_file("/app/backdoor", "open")
    reference = await tampered.publish("localhost:5000/org/tiny:1", registry_service=registry.service)
    other = reference.partition("@")[2]
    assert other != digest
    with pytest.raises(UnsignedError, match="is not signed"):
        await verify(registry, other, COMMIT.sha, images=Images(), policy=keys.policy())


async def test_statements_about_another_image_are_refused(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    """Everybody who can push can attach the signature of one image to another."""
    await signed(keys.signer, keys.policy())
    registry, digest = published
    victim = (await registry.pull(digest)).with_new_file("/app/backdoor", "open")
    other = (await victim.publish("localhost:5000/org/tiny:2", registry_service=registry.service)).partition("@")[2]
    await copy_referrers(dag, registry, digest, other)
    assert len(await statements_of(dag, registry, other)) == 3
    with pytest.raises(VerificationFailedError, match="is not signed by the key") as caught:
        await verify(registry, other, COMMIT.sha, images=Images(), policy=keys.policy())
    assert not isinstance(caught.value, UnsignedError)


async def test_the_signing_key_must_be_the_key_of_the_policy(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    other = await type(keys).make(dag)
    with pytest.raises(VerificationFailedError, match="is not the key of the verification policy"):
        await signed(keys.signer, other.policy())
    assert await statements_of(dag, *published) == []


async def test_a_wrong_password_of_the_key_is_named_in_the_hint(
    dag: dagger.Client, keys: Any, signed: Callable[..., Any]
):
    signer = Signer(key=keys.signer.key, password=dag.set_secret("wrong-password", "wrong"))
    with pytest.raises(StageFailedError, match="open the signing key") as caught:
        await signed(signer, keys.policy())
    assert "decryption failed" in str(caught.value)
    assert "its password?" in str(caught.value)


async def test_a_registry_that_fails_is_not_an_unsigned_release(
    dag: dagger.Client, keys: Any, published: tuple[Registry, str]
):
    nothing = dag.container().from_(images.NODE).with_exposed_port(5000)
    silent = nothing.as_service(args=["node", "-e", "require('net').createServer(s => s.destroy()).listen(5000)"])
    registry = Registry(address="localhost:5000/org/tiny", tool_image=images.TOOL, service=silent)
    with pytest.raises(VerificationFailedError, match="cannot be verified") as caught:
        await verify(registry, published[1], COMMIT.sha, images=Images(), policy=keys.policy())
    assert not isinstance(caught.value, UnsignedError)


@pytest.mark.parametrize("mode", ["referrers-403", "referrers-503"])
async def test_a_registry_that_fails_on_referrers_is_not_an_unsigned_release(
    keys: Any,
    published: tuple[Registry, str],
    signed: Callable[..., Any],
    faulty: Callable[..., dagger.Service],
    mode: str,
):
    """Cosign reads that as an unsigned image, which --allow-unsigned would deploy."""
    registry, digest = published
    stranger = await type(keys).make(dagger.dag)
    await signed(stranger.signer, stranger.policy())
    failing = dataclasses.replace(registry, service=await faulty(mode, registry.service).start())
    policy = dataclasses.replace(keys.policy(), allow_unsigned=True)
    with pytest.raises(VerificationFailedError, match="cannot be verified") as caught:
        await verify_for_deploy(failing, digest, COMMIT.sha, images=Images(), policy=policy)
    assert not isinstance(caught.value, UnsignedError)


async def test_a_shipment_is_signed_and_its_release_verifies_with_the_repositorys_own_key(
    make: Make, repository: Path, scanner: Scanner, registry: dagger.Container, keys: Any
):
    service = await registry.as_service(use_entrypoint=True).start()
    slipway = (
        with_origin(make, repository, {"cosign.pub": keys.public_key})
        .with_signer(key=keys.signer.key, password=keys.signer.password, sbom=SbomFormat.SPDX)
        .with_scanner(scanner("clean"))
        .with_registry("localhost:5000/tiny", service=service)
    )
    image = await (await (await slipway.check()).build()).scan()
    release = await image.publish()
    from_reference = await slipway.release(release.reference)
    report = await from_reference.verify_release()
    assert report.startswith("signed by the key ")
    assert f"provenance of https://git.example.com/org/tiny at {release.context.commit.sha}" in report
    stranger = await slipway.with_verification(repository=OTHER)
    with pytest.raises(VerificationFailedError, match="no provenance"):
        await (await stranger.release(release.reference)).verify_release()


async def test_without_a_policy_nothing_is_verified(make: Make, published: tuple[Registry, str]):
    registry, digest = published
    release = (
        await make().with_registry(registry.address, service=registry.service).release(f"{registry.address}@{digest}")
    )
    with pytest.raises(UnsignedError, match="no verification policy is configured"):
        await release.verify_release()


async def test_a_signer_without_a_repository_is_refused_before_any_stage(make: Make, keys: Any):
    slipway = make({"service/fail-lint": "so that it is seen to come first"})
    shipment = await slipway.with_signer(key=keys.signer.key).ship()
    assert shipment.error.startswith("cannot sign: provenance needs the address of the repository")


@pytest.mark.parametrize("where", ["cosign.pub", "service/cosign.pub"])
async def test_a_malformed_key_of_the_repository_is_refused(make: Make, where: str):
    with pytest.raises(InvalidInputError, match="the public key is not in PEM"):
        await make({where: "ssh-ed25519 AAAA"}).check()


async def test_a_key_pair_is_generated_once(dag: dagger.Client, make: Make, keys: Any):
    password = dag.set_secret("password-of-a-new-key", "pä ss'w\"$")
    pair = await make().key_pair(password)
    assert sorted(await pair.entries()) == ["cosign.key", "cosign.pub"]
    assert await pair.file("cosign.pub").contents() != keys.public_key
    with pytest.raises(InvalidInputError, match=r"has a cosign\.pub already"):
        await make({"service/cosign.pub": keys.public_key}).key_pair(password)


def with_origin(make: Make, repository: Path, files: dict[str, str]) -> Slipway:
    make(files)
    origin = ["remote", "add", "origin", "https://me:secret@git.example.com/org/tiny.git"]
    subprocess.run(["git", "-C", str(repository), *origin], check=True)
    return make()


async def statements_of(dag: dagger.Client, registry: Registry, digest: str) -> list[dict[str, Any]]:
    """Return the statements that refer to a digest, read with the registry's API alone."""
    return list(json.loads(await referrers(dag, registry, "read", digest)))


async def copy_referrers(dag: dagger.Client, registry: Registry, digest: str, other: str) -> None:
    await referrers(dag, registry, "copy", digest, other)


async def referrers(dag: dagger.Client, registry: Registry, *arguments: str) -> str:
    assert registry.service
    return await (
        dag.container()
        .from_(images.NODE)
        .with_file("/referrers.mjs", dag.host().file(str(EVIDENCE.parent / "referrers.mjs")))
        .with_service_binding("registry", registry.service)
        .with_env_variable("RUN", uuid.uuid4().hex)
        .with_exec(["node", "/referrers.mjs", "http://registry:5000/v2/org/tiny", *arguments])
        .stdout()
    )

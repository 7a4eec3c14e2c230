"""Signature, provenance and SBOM, by the real cosign against a real registry: each is refused where it must be."""

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
from pipeline.signing.policy import SbomFormat, Signatures, VerificationPolicy
from pipeline.signing.sign import sign
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
    """A registry, and the digest of an image in it that nobody has signed."""
    service = await registry.as_service(use_entrypoint=True).start()
    image = dag.container().from_(images.NODE).with_label("org.opencontainers.image.revision", COMMIT.sha)
    reference = await image.publish("localhost:5000/org/tiny:1", registry_service=service)
    return Registry(address="localhost:5000/org/tiny", client_image=images.NODE, service=service), reference.partition(
        "@"
    )[2]


@pytest.fixture
def signed(dag: dagger.Client, published: tuple[Registry, str]) -> Callable[..., Any]:
    """Sign the image; without an SBOM, if told so."""

    async def run(signatures: Signatures, *, commit: Commit = COMMIT, sbom: bool = True) -> None:
        registry, digest = published
        await sign(
            registry,
            digest,
            images=Images(),
            signatures=signatures,
            commit=commit,
            bases=[BASE],
            platforms=["linux/amd64"],
            evidence=dag.host().directory(str(EVIDENCE)) if sbom else dag.directory(),
        )

    return run


@pytest.fixture
def verified(published: tuple[Registry, str]) -> Callable[..., Any]:
    """Verify the image."""

    async def run(trust: VerificationPolicy, commit: str = COMMIT.sha) -> str:
        registry, digest = published
        return await verify(registry, digest, commit, images=Images(), trust=trust, what="deploy to staging")

    return run


async def test_what_is_signed_verifies(keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]):
    await signed(keys.signatures())
    assert await verified(keys.trust()) == keys.trust().whom


@pytest.mark.parametrize("form", list(SbomFormat))
async def test_sbom_and_provenance_are_referrers_of_the_digest(
    dag: dagger.Client,
    published: tuple[Registry, str],
    keys: Any,
    signed: Callable[..., Any],
    form: SbomFormat,
):
    signatures = keys.signatures()
    signatures.signer.sbom = form
    await signed(signatures)
    registry, digest = published
    # As any client of the registry would find them: no tool of Sigstore's in between.
    statements = {found["predicateType"]: found for found in await statements_of(dag, registry, digest)}
    assert set(statements) == {cosign.SIGNATURE, cosign.PROVENANCE, cosign.SBOMS[form.value]}
    assert {found["subject"][0]["digest"]["sha256"] for found in statements.values()} == {digest.partition(":")[2]}
    build = statements[cosign.PROVENANCE]["predicate"]
    source = {"uri": "git+https://git.example.com/org/tiny", "digest": {"gitCommit": COMMIT.sha}}
    base = {"uri": "oci://node:24-alpine", "digest": {"sha256": "b" * 64}}
    assert build["buildDefinition"]["resolvedDependencies"] == [source, base]
    assert build["runDetails"]["builder"]["id"] == keys.trust().builder
    stored = statements[cosign.SBOMS[form.value]]["predicate"]
    assert stored == json.loads((EVIDENCE / f"sbom.{form.value}.json").read_text())


async def test_signing_again_adds_nothing(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    await signed(keys.signatures())
    await signed(keys.signatures())
    assert len(await statements_of(dag, *published)) == 3


async def test_what_nobody_signed_is_refused_or_told_loudly(
    published: tuple[Registry, str], keys: Any, verified: Callable[..., Any], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(UnsignedError, match="is not signed"):
        await verified(keys.trust())
    registry, digest = published
    given = {"images": Images(), "trust": keys.trust(), "what": "deploy to staging"}
    reason = await verify_for_deploy(registry, digest, COMMIT.sha, allow_unsigned=True, **given)
    assert reason == f"localhost:5000/org/tiny@{digest} is not signed"
    assert f"NOT VERIFIED, and deployed all the same (--allow-unsigned): {reason}" in capsys.readouterr().out


async def test_a_signature_of_another_key_is_refused_even_where_none_would_do(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    other = await type(keys).make(dag)
    await signed(other.signatures())
    registry, digest = published
    for allow in (False, True):
        with pytest.raises(VerificationFailedError, match="is not signed by the key") as caught:
            await verify_for_deploy(
                registry,
                digest,
                COMMIT.sha,
                images=Images(),
                trust=keys.trust(),
                what="deploy to staging",
                allow_unsigned=allow,
            )
        assert not isinstance(caught.value, UnsignedError)


async def test_a_signature_counts_though_others_signed_it_too(
    dag: dagger.Client, keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    other = await type(keys).make(dag)
    await signed(other.signatures())
    await signed(keys.signatures())
    assert await verified(keys.trust())


async def test_provenance_of_another_repository_is_refused(
    keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    await signed(keys.signatures(OTHER))
    with pytest.raises(VerificationFailedError, match="no provenance of the commit and repository") as caught:
        await verified(keys.trust())
    assert "repository: 'git+https://git.example.com/org/other'" in str(caught.value)


async def test_provenance_of_another_commit_is_refused(
    keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    await signed(keys.signatures(), commit=Commit(sha="c" * 40, path="service"))
    with pytest.raises(VerificationFailedError, match=f"commit: '{'c' * 40}', not '{'a' * 40}'"):
        await verified(keys.trust())


async def test_provenance_of_another_service_of_the_repository_is_refused(
    keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    signatures = keys.signatures()
    signatures.trust.path = "other"
    await signed(signatures, commit=Commit(sha=COMMIT.sha, path="other"))
    with pytest.raises(VerificationFailedError, match="service: 'other', not 'service'"):
        await verified(keys.trust())


async def test_a_missing_sbom_is_refused(keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]):
    await signed(keys.signatures(), sbom=False)
    with pytest.raises(VerificationFailedError, match="has no SBOM of the key"):
        await verified(keys.trust())


async def test_a_signature_that_a_run_was_killed_before_is_missed(
    monkeypatch: pytest.MonkeyPatch, keys: Any, signed: Callable[..., Any], verified: Callable[..., Any]
):
    with monkeypatch.context() as killed:
        killed.setattr(cosign, "sign_argv", lambda *_, **__: ["false"])
        with pytest.raises(StageFailedError, match="publish: signing"):
            await signed(keys.signatures())
    with pytest.raises(VerificationFailedError, match="has no signature of the key"):
        await verified(keys.trust())
    await signed(keys.signatures())
    assert await verified(keys.trust())


async def test_a_tampered_image_has_another_digest_and_so_no_signature(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    await signed(keys.signatures())
    registry, digest = published
    tampered = registry.pull(digest).with_new_file("/app/backdoor", "open")
    reference = await tampered.publish("localhost:5000/org/tiny:1", registry_service=registry.service)
    other = reference.partition("@")[2]
    assert other != digest
    with pytest.raises(UnsignedError, match="is not signed"):
        await verify(registry, other, COMMIT.sha, images=Images(), trust=keys.trust(), what="deploy")


async def test_statements_about_another_image_are_refused(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    """Whoever may push can attach the signature of one image to another."""
    await signed(keys.signatures())
    registry, digest = published
    victim = registry.pull(digest).with_new_file("/app/backdoor", "open")
    other = (await victim.publish("localhost:5000/org/tiny:2", registry_service=registry.service)).partition("@")[2]
    await copy_referrers(dag, registry, digest, other)
    assert len(await statements_of(dag, registry, other)) == 3
    with pytest.raises(VerificationFailedError, match="is not signed by the key") as caught:
        await verify(registry, other, COMMIT.sha, images=Images(), trust=keys.trust(), what="deploy")
    assert not isinstance(caught.value, UnsignedError)


async def test_the_key_that_signs_must_be_the_one_that_is_trusted(
    dag: dagger.Client, published: tuple[Registry, str], keys: Any, signed: Callable[..., Any]
):
    other = await type(keys).make(dag)
    with pytest.raises(VerificationFailedError, match="is not the one that is trusted"):
        await signed(Signatures(signer=keys.signer, trust=other.trust()))
    assert await statements_of(dag, *published) == []


async def test_a_wrong_password_of_the_key_is_told(dag: dagger.Client, keys: Any, signed: Callable[..., Any]):
    signatures = keys.signatures()
    signatures.signer = type(keys.signer)(key=keys.signer.key, password=dag.set_secret("wrong-password", "wrong"))
    with pytest.raises(StageFailedError, match="opening the key") as caught:
        await signed(signatures)
    assert "decryption failed" in str(caught.value)
    assert "its password?" in str(caught.value)


async def test_a_registry_that_is_gone_is_no_verdict(dag: dagger.Client, keys: Any, published: tuple[Registry, str]):
    nothing = dag.container().from_(images.NODE).with_exposed_port(5000)
    silent = nothing.as_service(args=["node", "-e", "require('net').createServer(s => s.destroy()).listen(5000)"])
    registry = Registry(address="localhost:5000/org/tiny", client_image=images.NODE, service=silent)
    with pytest.raises(VerificationFailedError, match="cannot be verified") as caught:
        await verify(registry, published[1], COMMIT.sha, images=Images(), trust=keys.trust(), what="deploy")
    assert not isinstance(caught.value, UnsignedError)


@pytest.mark.parametrize("mode", ["referrers-403", "referrers-503"])
async def test_a_registry_that_fails_where_signatures_are_is_no_registry_without_any(
    keys: Any,
    published: tuple[Registry, str],
    signed: Callable[..., Any],
    faulty: Callable[..., dagger.Service],
    mode: str,
):
    """Cosign takes that for an image that nobody signed, which --allow-unsigned would let through."""
    registry, digest = published
    await signed((await type(keys).make(dagger.dag)).signatures())
    failing = dataclasses.replace(registry, service=await faulty(mode, registry.service).start())
    with pytest.raises(VerificationFailedError, match="cannot be verified") as caught:
        await verify_for_deploy(
            failing,
            digest,
            COMMIT.sha,
            images=Images(),
            trust=keys.trust(),
            what="deploy to staging",
            allow_unsigned=True,
        )
    assert not isinstance(caught.value, UnsignedError)


async def test_a_shipment_is_signed_and_its_release_verifies_with_the_repositorys_own_key(
    make: Make, repository: Path, scanner: Scanner, registry: dagger.Container, keys: Any
):
    service = await registry.as_service(use_entrypoint=True).start()
    slipway = with_origin(make, repository, {"cosign.pub": keys.public_key}).with_signer(
        key=keys.signer.key, password=keys.signer.password, sbom=SbomFormat.SPDX
    )
    cleared = await (await (await slipway.verify()).build()).scan(scanner=scanner("clean"))
    release = await cleared.publish("localhost:5000/tiny", registry_service=service)
    from_reference = await slipway.release(release.reference, registry_service=service)
    told = await from_reference.verify_release()
    assert told.startswith("signed by the key ")
    assert f"provenance of https://git.example.com/org/tiny at {release.commit}" in told
    stranger = await slipway.with_verification(repository=OTHER)
    with pytest.raises(VerificationFailedError, match="no provenance"):
        await (await stranger.release(release.reference, registry_service=service)).verify_release()


async def test_without_a_trusted_key_nothing_is_verified(make: Make, published: tuple[Registry, str]):
    registry, digest = published
    release = await make().release(f"{registry.address}@{digest}", registry_service=registry.service)
    with pytest.raises(UnsignedError, match="nobody is trusted to sign releases"):
        await release.verify_release()


async def test_provenance_that_could_name_no_repository_is_refused_at_once(make: Make, keys: Any):
    slipway = make({"service/fail-lint": "so that it is seen to come first"})
    shipment = await slipway.with_signer(key=keys.signer.key).ship()
    assert shipment.error.startswith("publish: provenance names the repository")


@pytest.mark.parametrize("where", ["cosign.pub", "service/cosign.pub"])
async def test_a_malformed_key_of_the_repository_is_told(make: Make, where: str):
    with pytest.raises(InvalidInputError, match="the public key is not of the accepted form"):
        await make({where: "ssh-ed25519 AAAA"}).verify()


async def test_a_key_pair_is_made_once(dag: dagger.Client, make: Make, keys: Any):
    password = dag.set_secret("password-of-a-new-key", "pä ss'w\"$")
    made = await make().key_pair(password)
    assert sorted(await made.entries()) == ["cosign.key", "cosign.pub"]
    assert await made.file("cosign.pub").contents() != keys.public_key
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

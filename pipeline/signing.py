"""Signing a release, and checking whose it is, with cosign and by digest."""

import base64
import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress

import dagger
from dagger import dag

from pipeline import cosign, provenance
from pipeline.commit import Commit
from pipeline.console import say
from pipeline.errors import InvalidInputError, RegistryError, StageFailedError, UnsignedError, UntrustedError
from pipeline.execution import run, run_id
from pipeline.history import now
from pipeline.images import Images
from pipeline.provenance import Origin
from pipeline.references import Repository
from pipeline.registry import SERVICE_ALIAS, Registry
from pipeline.signatures import PUBLIC_KEY, Signatures, Signer, Trust, key_name
from pipeline.trivy import SBOM_FILES

BINARY = "/ko-app/cosign"
DOCKER_CONFIG = "/run/docker"
DOCKER_HUB = {"docker.io", "index.docker.io", "registry-1.docker.io"}
STATED = "/slipway/stated.json"
SECONDS = 300
# How cosign says that what it found does not match, as opposed to that it could not look.
NO_MATCH = ("no matching", "none of the attestations matched")


@dataclasses.dataclass(frozen=True, slots=True)
class _Target:
    """A release, and a container with cosign that reaches its registry."""

    container: dagger.Container
    reference: str
    http: bool

    @classmethod
    async def of(cls, registry: Registry, digest: str, images: Images) -> "_Target":
        """Return it; the credentials are a file that is mounted for each call."""
        repository = Repository.parse(registry.address)
        host, http = repository.host, repository.scheme == "http"
        container = cosign_in(images)
        if registry.service:
            host, http = f"{SERVICE_ALIAS}:{registry.port}", True
            container = container.with_service_binding(SERVICE_ALIAS, registry.service)
        if registry.username and registry.password:
            config = docker_config(host, registry.username, await registry.password.plaintext())
            secret = dag.set_secret(f"slipway-registry-{run_id()}", config)
            container = container.with_mounted_secret(f"{DOCKER_CONFIG}/config.json", secret)
        return cls(container, f"{host}/{repository.path}@{digest}", http)

    async def call(self, argv: Sequence[str], *, what: str, hint: str = "") -> str:
        """Run cosign, never from cache."""
        fresh = self.container.with_env_variable("SLIPWAY_RUN", run_id())
        return await run(fresh, argv, what=what, hint=hint, seconds=SECONDS)


def cosign_in(images: Images) -> dagger.Container:
    """Return a container with cosign, on an image that takes a company's certificates, as cosign's own does not."""
    program = dag.container().from_(images.cosign).file(BINARY)
    return (
        dag.container()
        .from_(images.node)
        .with_file("/usr/local/bin/cosign", program, permissions=0o755)
        .with_env_variable("DOCKER_CONFIG", DOCKER_CONFIG)
    )


def docker_config(host: str, username: str, password: str) -> str:
    """Return the configuration in which registry clients look for credentials."""
    key = "https://index.docker.io/v1/" if host in DOCKER_HUB else host
    basic = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {key: {"auth": basic}}})


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
        UntrustedError: if it is not the signature that is asked for.
    """
    signer, trust = check_signing(signatures), signatures.trust
    target = await _Target.of(registry, digest, images)
    signing = _with_signer(target, signer)
    hint = "is Sigstore reachable, and the token fresh?" if signer.keyless else "is it cosign's key, and its password?"
    builder = trust.signed_by
    if signer.key:
        builder = key_name(await signing.call(cosign.public_key_argv(), what="publish: opening the key", hint=hint))
    if trust.asks and builder != trust.builder:
        raise UntrustedError(
            f"publish: the key that signs ({builder}) is not the one that is trusted ({trust.builder})",
            hint=f"sign with the key of {PUBLIC_KEY}, or commit the other one's",
        )

    async def verified() -> str:
        return await verify(registry, digest, commit.sha, images=images, trust=trust, what="publish")

    if trust.asks:
        with suppress(UntrustedError):
            say("publish", f"it is signed by {await verified()} already")
            return
    origin = Origin(repository=trust.repository, commit=commit.sha, path=commit.path, builder=builder)
    statement = provenance.predicate(origin, bases=bases, platforms=platforms, run=run_id(), at=now())
    form = signer.sbom.value
    boms = [evidence.file(path) for path in await evidence.glob(f"**/{SBOM_FILES[form]}")]
    stated = [*((form, bom) for bom in boms), ("provenance", _file(json.dumps(statement)))]
    # One after the other: where a registry has no referrers, each adds itself to the same tag.
    for kind, file in stated:
        given = dataclasses.replace(signing, container=signing.container.with_mounted_file(STATED, file))
        argv = cosign.attest_argv(target.reference, signer, kind, STATED, http=target.http)
        await given.call(argv, what=f"publish: signing the {kind}", hint=hint)
    await signing.call(cosign.sign_argv(target.reference, signer, http=target.http), what="publish: signing", hint=hint)
    say("publish", f"signed, with provenance and {f'SBOM ({form})' if boms else 'no SBOM: it was not scanned'}")
    if trust.asks and boms:
        say("publish", f"it verifies as signed by {await verified()}")


def check_signing(signatures: Signatures) -> Signer:
    """Return who signs.

    Raises:
        InvalidInputError: if that is nobody, or provenance could not name the builder or the repository.
    """
    if signatures.signer is None:
        raise InvalidInputError("publish: there is nobody to sign", hint="call `with-signer`")
    if signatures.signer.keyless and not signatures.trust.signed_by:
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


async def verify(registry: Registry, digest: str, commit: str, *, images: Images, trust: Trust, what: str) -> str:
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
        UntrustedError: if any of the three is missing, or of somebody or something else.
    """
    if not trust.asks:
        raise UnsignedError(
            f"{what}: nobody is trusted to sign releases",
            hint="commit cosign.pub, or call `with-trust` (docs/signing.md); for the first day, --allow-unsigned",
        )
    if not trust.repository:
        raise UntrustedError(
            f"{what}: it is not known of which repository the release must be",
            hint="give the source's Git a remote `origin`, or `with-trust --repository https://…`",
        )
    release = f"{registry.address}@{digest}"
    target = await _Target.of(registry, digest, images)
    asked = _with_trust(target, trust)
    argv = cosign.verify_argv(target.reference, trust, commit, http=target.http)
    try:
        types = cosign.parse_types(await _verified(asked, argv, trust, what=f"{what}: {release}"))
    except UnsignedError:
        await _check_bare(registry, digest, what=what)
        raise
    missing = [name for name, wanted in _WANTED.items() if not types & wanted]
    if missing:
        raise UntrustedError(
            f"{what}: {release} has no {' and no '.join(missing)} of {trust.whom}",
            hint="`publish` attaches all three, the signature last: run it again",
        )
    argv = cosign.provenance_argv(target.reference, trust, commit, http=target.http)
    stated = cosign.parse_predicates(await _verified(asked, argv, trust, what=f"{what}: {release}"))
    wanted = Origin(repository=trust.repository, commit=commit, path=trust.path, builder=trust.builder)
    told = [provenance.differences(predicate, wanted) for predicate in stated]
    if all(told):
        raise UntrustedError(
            f"{what}: {release} has no provenance of the commit and repository that it says it is of",
            output="\n".join(told[-1] if told else ["none"]),
            hint="do not deploy this, before it is known who signed it, and why",
        )
    return trust.whom


async def admit(
    registry: Registry, digest: str, commit: str, *, images: Images, trust: Trust, what: str, allow_unsigned: bool
) -> str:
    """Verify a release before it is deployed; return why it goes on unsigned, or an empty string.

    A signature that is there, and wrong, is never let through.

    Raises:
        UntrustedError: if it may not be deployed.
    """
    try:
        whom = await verify(registry, digest, commit, images=images, trust=trust, what=what)
    except UnsignedError as error:
        if not allow_unsigned:
            raise
        reason = error.problem.removeprefix(f"{what}: ")
        say("verify", f"NOT VERIFIED, and deployed all the same (--allow-unsigned): {reason}")
        return reason
    say("verify", f"signature, provenance and SBOM are of {whom}")
    return ""


async def key_pair(images: Images, password: dagger.Secret) -> dagger.Directory:
    """Make a new key pair: cosign.key, which the password opens, and cosign.pub."""
    fresh = cosign_in(images).with_secret_variable("COSIGN_PASSWORD", password)
    made = fresh.with_env_variable("SLIPWAY_RUN", run_id()).with_workdir("/made")
    return await made.with_exec(cosign.key_pair_argv("cosign")).directory("/made").sync()


_WANTED = {
    "signature": {cosign.SIGNATURE},
    "provenance": {cosign.PROVENANCE},
    "SBOM": set(cosign.SBOMS.values()),
}


async def _check_bare(registry: Registry, digest: str, *, what: str) -> None:
    """Refuse an image to which something is attached though cosign saw nothing: it takes a registry's failure for that.

    Raises:
        UntrustedError: if so, or if the registry does not tell.
    """
    problem, hint = f"{what}: {registry.address}@{digest} cannot be verified", "is the registry well? Run it again"
    try:
        attached = await registry.attached(digest)
    except RegistryError as error:
        raise UntrustedError(problem, output=error.problem, hint=hint) from error
    if attached:
        raise UntrustedError(problem, output="something is attached to it, which cosign could not read", hint=hint)


async def _verified(asked: "_Target", argv: Sequence[str], trust: Trust, *, what: str) -> str:
    """Run a verification and return what it prints.

    Raises:
        UnsignedError: if nothing is signed at all.
        UntrustedError: with cosign's own words, if what is signed is not by whom it must be, or cannot be looked at.
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
        raise UntrustedError(problem, output="\n".join(words), hint=hint) from error


def _with_signer(target: "_Target", signer: Signer) -> "_Target":
    """Give cosign what it signs with: mounted, so that it is in no layer."""
    container = target.container
    if signer.key or signer.signing_config:
        config = signer.signing_config or _file(cosign.NO_SERVICES)
        container = container.with_mounted_file(cosign.SIGNING_CONFIG, config)
    if signer.key:
        container = container.with_mounted_file(cosign.TRUSTED_ROOT, _file(cosign.NO_ROOTS))
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


def _with_trust(target: "_Target", trust: Trust) -> "_Target":
    """Give cosign what it verifies with."""
    container = target.container
    if trust.public_key or trust.trusted_root:
        container = container.with_mounted_file(cosign.TRUSTED_ROOT, trust.trusted_root or _file(cosign.NO_ROOTS))
    if trust.public_key:
        container = container.with_mounted_file(cosign.PUBLIC_KEY, _file(trust.public_key))
    return dataclasses.replace(target, container=container)


def _file(text: str) -> dagger.File:
    return dag.directory().with_new_file("file", text).file("file")

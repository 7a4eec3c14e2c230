"""The module's entry: source comes in here, once."""

import copy
import dataclasses
import datetime
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Annotated, Self

import dagger
from dagger import DefaultPath, Doc, Ignore, dag

from pipeline import images
from pipeline.api.arguments import (
    AllowUnsigned,
    ApiServer,
    Context,
    IgnoreFile,
    KubeconfigSecret,
    Link,
    Manifests,
    Namespace,
    OptionalKubeconfig,
    Password,
    RegistryService,
    Scanner,
    Severity,
    SmokeUrl,
    UrlService,
    Username,
)
from pipeline.api.checked_source import CheckedSource, check_platforms
from pipeline.api.environment import Environment
from pipeline.api.release import Release
from pipeline.api.scanned_image import ScannedImage
from pipeline.api.shipment import Shipment, StageRecorder, StageStoppedError
from pipeline.build.node import NodeBuilder
from pipeline.check import find_pins as pinning
from pipeline.check import gates, pins
from pipeline.check.gates import Gate
from pipeline.check.pins import Pin
from pipeline.core.errors import InvalidInputError
from pipeline.core.execution import gather
from pipeline.core.log import log
from pipeline.core.sdk import check, field, function, object_type, uncached
from pipeline.deploy.place import EnvironmentTarget
from pipeline.images import Images
from pipeline.kubernetes.cluster import REHEARSAL, STAGING, check_deployable
from pipeline.oci.references import check_tag
from pipeline.oci.registry import check_target
from pipeline.report.report import UNAVAILABLE, Run
from pipeline.report.verdict import Status
from pipeline.scan.scan import check_severities
from pipeline.signing.policy import (
    GITHUB_ISSUER,
    MAIN,
    PUBLIC_KEY,
    SbomFormat,
    Signatures,
    Signer,
    VerificationPolicy,
    check_policy,
    check_signable,
    check_signer,
)
from pipeline.signing.sign import check_signing, key_pair
from pipeline.source.commit import check_releasable
from pipeline.source.delivery import ignores_in, manifests_in, test_in
from pipeline.source.project import read_manifest
from pipeline.source.source import Source

GATE_SECONDS = 1800
INTEGRATION_SECONDS = 600


@object_type
class Slipway:
    """From source to production: verify, build, scan, publish, deploy, smoke."""

    source: Annotated[
        dagger.Directory,
        DefaultPath("/"),
        Ignore(
            [
                "**/node_modules",
                "**/.venv",
                "**/__pycache__",
                "**/.mypy_cache",
                "**/.ruff_cache",
                "**/.pytest_cache",
            ]
        ),
        Doc("The root of the repository, with its .git."),
    ] = field()
    path: Annotated[str, Doc("The folder of the service in the repository: the one with package.json.")] = field(
        default="app"
    )
    commit: Annotated[str, Doc("Full hash of the commit, where the source has no .git.")] = field(default="")
    npmrc: Annotated[
        dagger.Secret | None, Doc("npm's user configuration, for private registries: file:$HOME/.npmrc")
    ] = field(default=None)
    node_image: Annotated[str, Doc("Node, for verifying, building and running the service.")] = field(
        default=images.NODE
    )
    postgres_image: Annotated[str, Doc("PostgreSQL, for integration tests and rehearsals.")] = field(
        default=images.POSTGRES
    )
    registry_image: Annotated[str, Doc("The throwaway registry of a rehearsal.")] = field(default=images.REGISTRY)
    git_image: Annotated[str, Doc("Git, which reads the commit of the source.")] = field(default=images.GIT)
    trivy_image: Annotated[str, Doc("Trivy, the scanner.")] = field(default=images.TRIVY)
    kubectl_image: Annotated[str, Doc("kubectl, for Kubernetes environments.")] = field(default=images.KUBECTL)
    gitleaks_image: Annotated[str, Doc("Gitleaks, which looks for secrets.")] = field(default=images.GITLEAKS)
    skip: Annotated[list[Gate], Doc("Gates to turn off, such as secrets,licenses. The report tells of it.")] = field(
        default=list
    )
    cosign_image: Annotated[str, Doc("Cosign, which signs and verifies.")] = field(default=images.COSIGN)
    signer: Annotated[Signer | None, Doc("Who signs what is published: see `with-signer`.")] = field(
        default=None, init=False
    )
    trust: Annotated[VerificationPolicy | None, Doc("Whose signature is asked for: see `with-trust`.")] = field(
        default=None, init=False
    )

    def __post_init__(self) -> None:
        """Take `./app/` for `app`: provenance and pins name the folder, and must name it alike."""
        self.path = str(PurePosixPath(self.path))

    @property
    def images(self) -> Images:
        """The images that the stages run in."""
        return Images(
            node=self.node_image,
            postgres=self.postgres_image,
            registry=self.registry_image,
            git=self.git_image,
            trivy=self.trivy_image,
            kubectl=self.kubectl_image,
            cosign=self.cosign_image,
            gitleaks=self.gitleaks_image,
        )

    @property
    def taken(self) -> Source:
        """The source, as it was taken in."""
        return Source(self.source, self.path, self.images, self.npmrc, self.commit)

    @function
    @check
    async def lint(self) -> str:
        """Lint the source: `npm run lint`."""
        return await gates.npm(self.taken, "lint")

    @function
    @check
    async def types(self) -> str:
        """Check the types: `npm run typecheck`."""
        return await gates.npm(self.taken, "typecheck")

    @function
    @check
    async def unit(self) -> str:
        """Run the unit tests: `npm test`."""
        return await gates.npm(self.taken, "test")

    @function
    @check
    async def integration(
        self,
        seconds: Annotated[int, Doc("How long database and tests may take, in seconds.")] = gates.INTEGRATION_SECONDS,
    ) -> str:
        """Run the integration tests beside a real PostgreSQL, once it is ready: `npm run test:integration`."""
        return await gates.integration(self.taken, seconds)

    @function
    @check
    async def manifests(self) -> str:
        """Check the Kubernetes manifests in deploy/, of each environment: schemas and policy. Needs no cluster."""
        return await gates.manifests(self.taken)

    @function
    @check
    async def secrets(self) -> str:
        """Look for secrets in the source, but not in files that Git ignores: gitleaks.

        Errors: a finding, by file, rule and line; gitleaks that cannot be had or run; rules that would find nothing.
        """
        return await gates.secrets(self.taken)

    @uncached
    @check
    async def licenses(self) -> str:
        """Check the licenses of the production dependencies: strong copyleft and unknown ones are refused.

        Errors: a package that may not be shipped; an ignore without reason, without date or past its date.
        """
        return await gates.licensed(self.taken)

    @uncached
    async def verify(self) -> CheckedSource:
        """Lint, types, tests, manifests, secrets, licenses, all at the same time. The first failure stops the others.

        Errors: no package.json or lock file; a missing npm script; each failing tool's own last lines.
        """
        await self.taken.check()
        name = await read_manifest(self.taken.service)
        commit = await self.taken.commit()
        members = [self.lint, self.types, self.unit, self.integration, self.manifests]
        for gate, member in ((Gate.SECRETS, self.secrets), (Gate.LICENSES, self.licenses)):
            if gate in self.skip:
                log("verify", f"{gate.value}: TURNED OFF by --skip")
            else:
                members.append(member)
        await gather(*members)
        return CheckedSource(
            source=self.taken.service,
            commit=commit,
            images=self.images,
            signatures=await self._signatures(commit.url),
            name=name,
            npmrc=self.npmrc,
        )

    @uncached
    def with_signer(
        self,
        key: Annotated[dagger.Secret | None, Doc("cosign's private key: file:cosign.key")] = None,
        password: Annotated[dagger.Secret | None, Doc("Its password: env:COSIGN_PASSWORD")] = None,
        identity_token: Annotated[
            dagger.Secret | None, Doc("Keyless: an OIDC token for the audience `sigstore`.")
        ] = None,
        request_url: Annotated[str, Doc("Keyless, in a GitHub job: $ACTIONS_ID_TOKEN_REQUEST_URL")] = "",
        request_token: Annotated[
            dagger.Secret | None, Doc("Keyless, in a GitHub job: env:ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        ] = None,
        signing_config: Annotated[dagger.File | None, Doc("Keyless, with a Sigstore of your own.")] = None,
        sbom: Annotated[SbomFormat, Doc("Form of the SBOM.")] = SbomFormat.CYCLONEDX,
    ) -> Self:
        """Sign what is published, and attach provenance and SBOM, by the digest.

        Errors: more than one way to sign, or half of one.
        """
        signer = Signer(
            key=key,
            password=password,
            identity_token=identity_token,
            request_url=request_url,
            request_token=request_token,
            signing_config=signing_config,
            sbom=sbom,
        )
        return self._with(signer=check_signer(signer))

    @uncached
    async def with_verification(
        self,
        public_key: Annotated[
            dagger.File | None, Doc("cosign.pub. Default: the service's or repository's own.")
        ] = None,
        certificate_identity: Annotated[
            str,
            Doc(
                "Identity of a keyless signature: https://github.com/ORG/APP/.github/workflows/ship.yml@refs/heads/main"
            ),
        ] = "",
        certificate_oidc_issuer: Annotated[str, Doc("Who vouches for the identity.")] = GITHUB_ISSUER,
        ref: Annotated[str, Doc("What GitHub must have run it for; empty for anything.")] = MAIN,
        repository: Annotated[str, Doc("Address of the repository. Default: that of the remote `origin`.")] = "",
        trusted_root: Annotated[dagger.File | None, Doc("Keyless, with a Sigstore of your own.")] = None,
    ) -> Self:
        """Deploy and promote only what this key or identity signed, of this repository.

        Errors: a key and an identity, or a malformed one.
        """
        key = await public_key.contents() if public_key else ""
        if not key and not certificate_identity:
            key = await self.taken.public_key()
        trust = VerificationPolicy(
            public_key=key,
            certificate_identity=certificate_identity,
            certificate_oidc_issuer=certificate_oidc_issuer,
            ref=ref,
            trusted_root=trusted_root,
            repository=repository,
        )
        return self._with(trust=check_policy(trust))

    @uncached
    async def key_pair(
        self, password: Annotated[dagger.Secret, Doc("That opens the private key: env:COSIGN_PASSWORD")]
    ) -> dagger.Directory:
        """Make a key pair to sign with: cosign.key, to keep secret, and cosign.pub, to commit.

        `dagger call key-pair --password env:COSIGN_PASSWORD export --path ../app-key` puts both there.

        Errors: the source has a cosign.pub already.
        """
        if await self.taken.public_key():
            raise InvalidInputError(
                f"key-pair: the source has a {PUBLIC_KEY} already, and what it verifies would be refused with another",
                hint="sign with its key; to replace it all the same, remove the file first",
            )
        return await key_pair(self.images, password)

    @uncached
    async def pins(self) -> str:
        """Everything that is fetched at run time: to what it is pinned, for how many days, how to refresh it. A table.

        Errors: a malformed file that pins.
        """
        return pins.table(await self._pins(), datetime.datetime.now(datetime.UTC).date())

    @uncached
    async def pins_json(self) -> str:
        """The same as JSON."""
        return pins.to_document(await self._pins(), datetime.datetime.now(datetime.UTC).date())

    @uncached
    async def release(
        self,
        ref: Annotated[str, Doc("host/path@sha256:… of an image that was published before.")],
        username: Username = "",
        password: Password = None,
        registry_service: RegistryService = None,
    ) -> Release:
        """Take up a release that was published before, by digest, after asking the registry for it.

        Errors: a tag instead of a digest; a reference that the registry does not have; no image, or one that does not
        say of which commit it is.
        """
        return await Release.from_reference(
            ref,
            username=username,
            password=password,
            registry_service=registry_service,
            images=self.images,
            trust=await self._trust(),
            name=await self.taken.name(),
            delivery=self.taken.delivery,
        )

    @uncached
    async def environment(
        self,
        name: Annotated[str, Doc("Such as staging.")],
        kubeconfig: KubeconfigSecret,
        context: Context = "",
        namespace: Namespace = "",
        api_server: ApiServer = None,
    ) -> Environment:
        """An environment of the service in a cluster: its status, history, proofs, and the way back.

        Errors: a kubeconfig that is not usable.
        """
        await self.taken.check()
        service = await read_manifest(self.taken.service, ())
        place = await EnvironmentTarget.connect(
            name,
            service,
            kubeconfig,
            context=context,
            namespace=namespace,
            api_server=api_server,
            images=self.images,
            trust=await self._trust(),
            delivery=self.taken.delivery,
        )
        return Environment(place=place)

    @uncached
    async def ship(
        self,
        registry: Annotated[
            str | None, Doc("Where to publish, such as ghcr.io/org/app. Without it: a rehearsal.")
        ] = None,
        username: Username = "",
        password: Password = None,
        tag: Annotated[str, Doc("Tag for people. Default: twelve digits of the commit.")] = "",
        registry_service: RegistryService = None,
        platforms: Annotated[list[str] | None, Doc("Platforms to build, such as linux/amd64,linux/arm64.")] = None,
        ignore: IgnoreFile = None,
        scanner: Scanner = None,
        severity: Severity = None,
        kubeconfig: OptionalKubeconfig = None,
        environment: Annotated[str, Doc("Where to deploy, with --kubeconfig. Default: staging.")] = "",
        context: Context = "",
        namespace: Namespace = "",
        api_server: ApiServer = None,
        manifests: Manifests = None,
        url: SmokeUrl = "",
        url_service: UrlService = None,
        link: Link = "",
        allow_unsigned: AllowUnsigned = False,
        frozen: Annotated[bool, Doc("Fail if anything that is fetched is not pinned: see `pins`.")] = False,
    ) -> Shipment:
        """Run the whole chain: verify, build, scan, publish, deploy, smoke.

        Without --registry it is a rehearsal, against a throwaway registry and environment. With --kubeconfig it deploys
        to staging, and proves it there; never to production, which `promote` reaches. Ends with a table and the
        digest. `ship report export --path report` gives the report, also of a run that failed.

        Errors: bad arguments at once; before anything expensive a cluster that is not there, manifests that it would
        not take, a signature that would be missing; then the failing stage, its tool's last lines and a hint.
        """
        check_target(registry, username, password, registry_service)
        check_platforms(platforms)
        check_severities(severity)
        if tag:
            check_tag(tag)
        if not kubeconfig and (environment or context or namespace or api_server or manifests or url):
            raise InvalidInputError("ship: there is no cluster to deploy to", hint="give --kubeconfig env:KUBECONFIG")
        connect = None
        if kubeconfig:
            environment = environment or STAGING
            check_cluster(environment, registry)
            connect = partial(self.environment, environment, kubeconfig, context, namespace, api_server)
        rehearsal = registry is None
        log = StageRecorder()
        told = Run(name=self.path, stages=list(log.stages.values()), rehearsal=rehearsal, environment=environment)
        told.skipped, told.link = [gate.value for gate in self.skip], link
        evidence = dag.directory()
        try:
            ready = self._ready(
                connect,
                manifests,
                rehearsal=rehearsal,
                frozen=frozen,
                allow_unsigned=allow_unsigned,
                platforms=platforms,
            )
            told.after_failure = await log.before(ready)
            verified = await log.stage("verify", self.verify())
            told.name, told.commit, told.dirty = verified.name, verified.commit.sha, verified.commit.dirty
            candidate = await log.stage("build", verified.build(platforms))
            told.base_image = candidate.base_image

            async def scan() -> ScannedImage:
                nonlocal evidence
                told.verdict, evidence = await candidate.examine(
                    await ignores_in(self.taken.delivery, ignore), scanner, severity
                )
                if told.verdict.status == Status.UNAVAILABLE and rehearsal:
                    log.stages["scan"].result, log.stages["scan"].detail = UNAVAILABLE, told.verdict.reason
                return await candidate.clear(told.verdict, evidence, rehearsal=rehearsal)

            cleared = await log.stage("scan", scan())
            release = await log.stage("publish", cleared.publish(registry, username, password, tag, registry_service))
            told.reference = release.reference
            deploying = release.deploy(
                environment or REHEARSAL,
                kubeconfig,
                context,
                namespace,
                api_server,
                manifests,
                link=link,
                allow_unsigned=allow_unsigned,
            )
            deployment = await log.stage("deploy", deploying)
            told.unsigned = deployment.unsigned
            test = await test_in(release.delivery, None)
            proof = await log.stage("smoke", deployment.smoke(test, url=url, url_service=url_service))
            log.stages["smoke"].detail = f"attempt {proof.attempts}"
        except StageStoppedError:
            told.error = log.error
        return Shipment.of(told, evidence)

    def _with(self, *, signer: Signer | None = None, trust: VerificationPolicy | None = None) -> Self:
        """Return another one, which signs or trusts otherwise."""
        other = copy.copy(self)
        other.signer, other.trust = signer or self.signer, trust or self.trust
        return other

    async def _pins(self) -> list[Pin]:
        """Return what is pinned, and since when."""
        return await pinning.dated(await self._found(), self.source, image=self.git_image)

    async def _found(self) -> list[Pin]:
        """Return what is pinned."""
        return await pinning.find(self.source, self.path, await self.taken.name(), self.images)

    async def _signatures(self, url: str = "") -> Signatures:
        """Return who signs, after seeing that it can, and whose signature is asked for."""
        signatures = Signatures(signer=self.signer, trust=await self._trust(url))
        if self.signer:
            check_signing(signatures)
        return signatures

    async def _trust(self, url: str = "") -> VerificationPolicy:
        """Return whose signature is asked for: as `with_verification` says, else of the source's cosign.pub.

        Args:
            url: address of the source's repository, where it was read before.
        """
        given = self.trust or check_policy(VerificationPolicy(public_key=await self.taken.public_key()))
        address = given.repository or url or await self.taken.origin()
        return dataclasses.replace(given, repository=address, path=self.path)

    async def _ready(
        self,
        connect: Callable[[], Awaitable[Environment]] | None,
        manifests: dagger.Directory | None,
        *,
        rehearsal: bool,
        frozen: bool,
        allow_unsigned: bool,
        platforms: list[str] | None,
    ) -> bool:
        """Refuse, before anything expensive, what could not be done.

        Returns whether the environment's last run failed.
        """
        if not rehearsal:
            check_releasable(await self.taken.commit())
        signatures = await self._signatures()
        if frozen:
            pins.check_frozen(await self._found())
        await self._check_runnable(platforms)
        if connect is None:
            return False
        if not allow_unsigned:
            check_signable(self.signer, signatures.trust)
        place = (await connect()).place
        await place.check(await manifests_in(place.delivery, manifests))
        return await place.last_run_failed()

    async def _check_runnable(self, platforms: list[str] | None) -> None:
        """Refuse a platform that the engine cannot run, before any work is done for it."""
        for platform in platforms or ():
            node = NodeBuilder(self.taken.service, self.images, platform=platform).base()
            try:
                await node.with_exec(["node", "--version"]).sync()
            except dagger.QueryError as error:
                raise InvalidInputError(
                    f"platform {platform} cannot be run here",
                    output=str(error),
                    hint="leave it out, or use an engine with an emulator for it (binfmt_misc)",
                ) from error


def check_cluster(environment: str, registry: str | None) -> None:
    """Refuse to ship to a cluster what may not go there.

    Raises:
        InvalidInputError: if it is reached by a promotion only, or has no registry to pull from.
    """
    check_deployable(environment)
    if registry is None:
        raise InvalidInputError("ship: a cluster needs a registry to pull from", hint="give --registry")

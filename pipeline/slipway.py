"""The module's entry: source comes in here, once."""

import copy
import dataclasses
import datetime
from pathlib import PurePosixPath
from typing import Annotated, Self

import dagger
from dagger import DefaultPath, Doc, Ignore, dag

from pipeline import images, leaks, licences, pinning, pins
from pipeline.arguments import (
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
from pipeline.cleared import Cleared
from pipeline.commit import Commit, check_releasable, read_commit, read_origin, tracked
from pipeline.console import say
from pipeline.database import database, database_url
from pipeline.delivery import FOLDER, checked, delivery_of, environments, ignores_in, manifests_in, test_in
from pipeline.environment import Environment
from pipeline.errors import InvalidInputError
from pipeline.execution import check_positive, run, together
from pipeline.gates import Gate
from pipeline.images import Images
from pipeline.kubernetes.cluster import REHEARSAL, STAGING, check_deployable
from pipeline.pins import Pin
from pipeline.place import Place
from pipeline.references import check_tag
from pipeline.registry import check_target
from pipeline.release import Release
from pipeline.report import UNAVAILABLE, Run
from pipeline.scanning import check_severities
from pipeline.schema import check, field, function, object_type, uncached
from pipeline.shipment import Logbook, Shipment, StageStoppedError
from pipeline.signatures import (
    GITHUB_ISSUER,
    MAIN,
    PUBLIC_KEY,
    SbomFormat,
    Signatures,
    Signer,
    Trust,
    check_signable,
    check_signer,
    check_trust,
    own_key,
)
from pipeline.signing import check_signing, key_pair
from pipeline.toolchain import Toolchain, check_manifest
from pipeline.verdict import Status
from pipeline.verified import Verified, check_platforms

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
    skip: Annotated[list[Gate], Doc("Gates to turn off, such as secrets,licences. The report tells of it.")] = field(
        default=list
    )
    cosign_image: Annotated[str, Doc("Cosign, which signs and verifies.")] = field(default=images.COSIGN)
    signer: Annotated[Signer | None, Doc("Who signs what is published: see `with-signer`.")] = field(
        default=None, init=False
    )
    trust: Annotated[Trust | None, Doc("Whose signature is asked for: see `with-trust`.")] = field(
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
    def service(self) -> dagger.Directory:
        """The folder of the service."""
        return self.source.directory(self.path)

    @property
    def toolchain(self) -> Toolchain:
        """The containers of the service, for the engine's own platform."""
        return Toolchain(self.service, self.images, self.npmrc)

    @function
    @check
    async def lint(self) -> str:
        """Lint the source: `npm run lint`."""
        return await self._npm("lint")

    @function
    @check
    async def types(self) -> str:
        """Check the types: `npm run typecheck`."""
        return await self._npm("typecheck")

    @function
    @check
    async def unit(self) -> str:
        """Run the unit tests: `npm test`."""
        return await self._npm("test")

    @function
    @check
    async def integration(
        self,
        seconds: Annotated[int, Doc("How long database and tests may take, in seconds.")] = INTEGRATION_SECONDS,
    ) -> str:
        """Run the integration tests beside a real PostgreSQL, once it is ready: `npm run test:integration`."""
        db = database(self.postgres_image).as_service(use_entrypoint=True)
        bound = (
            self.toolchain.workshop()
            .with_service_binding("db", db)
            .with_env_variable("DATABASE_URL", database_url("db"))
        )
        check_positive("seconds", seconds)
        return await self._npm("test:integration", bound, seconds, beside=", beside a database that gets ready")

    @function
    @check
    async def manifests(self) -> str:
        """Check the Kubernetes manifests in deploy/, of each environment: schemas and policy. Needs no cluster."""
        await self._check_path()
        name = await check_manifest(self.service, ())
        if not await self.service.exists(FOLDER):
            return "the service has none"
        folder = self.service.directory(FOLDER)
        told = []
        for environment in await environments(folder) or [STAGING]:
            what = f"manifests of {environment}"
            rendered = await checked(self.kubectl_image, folder, environment, name, what=what)
            told.append(f"{environment}: {len(rendered)} objects")
        say("verify", f"manifests passed ({', '.join(told)})")
        return "\n".join(told)

    @function
    @check
    async def secrets(self) -> str:
        """Look for secrets in the source, but not in files that Git ignores: gitleaks.

        Errors: a finding, by file, line and rule; gitleaks that cannot be had or run.
        """
        told = await leaks.search(await tracked(self.source, image=self.git_image), self.gitleaks_image)
        say("verify", f"secrets passed ({told})")
        return told

    @function
    @check
    async def licences(self) -> str:
        """Check the licences of the production dependencies: strong copyleft and unknown ones are refused.

        Errors: a package that may not be shipped; an ignore without reason, without date or past its date.
        """
        await self._check_path()
        await check_manifest(self.service, ())
        file = await ignores_in(delivery_of(self.service), None)
        installed = self.toolchain.dependencies(production=True)
        packages = licences.parse_packages(await run(installed, licences.QUERY, what="licences"))
        for warning in licences.check(packages, await file.contents() if file else ""):
            say("verify", f"warning: {warning}")
        told = f"{len(packages)} production dependencies"
        say("verify", f"licences passed ({told})")
        return told

    @function
    async def verify(self) -> Verified:
        """Lint, types, tests, manifests, secrets, licences, all at the same time. The first failure stops the others.

        Errors: no package.json or lock file; a missing npm script; each failing tool's own last lines.
        """
        await self._check_path()
        name = await check_manifest(self.service)
        commit = await self._commit()
        members = [self.lint, self.types, self.unit, self.integration, self.manifests]
        for gate, member in ((Gate.SECRETS, self.secrets), (Gate.LICENCES, self.licences)):
            if gate in self.skip:
                say("verify", f"{gate.value}: TURNED OFF by --skip")
            else:
                members.append(member)
        await together(*members)
        return Verified(
            source=self.service,
            commit=commit,
            images=self.images,
            signatures=await self._signatures(commit.url),
            name=name,
            npmrc=self.npmrc,
        )

    @function
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

    @function
    async def with_trust(
        self,
        public_key: Annotated[
            dagger.File | None, Doc("cosign.pub. Default: the service's or repository's own.")
        ] = None,
        signed_by: Annotated[
            str,
            Doc(
                "Identity of a keyless signature: https://github.com/ORG/APP/.github/workflows/ship.yml@refs/heads/main"
            ),
        ] = "",
        issuer: Annotated[str, Doc("Who vouches for the identity.")] = GITHUB_ISSUER,
        ref: Annotated[str, Doc("What GitHub must have run it for; empty for anything.")] = MAIN,
        repository: Annotated[str, Doc("Address of the repository. Default: that of the remote `origin`.")] = "",
        trusted_root: Annotated[dagger.File | None, Doc("Keyless, with a Sigstore of your own.")] = None,
    ) -> Self:
        """Deploy and promote only what this key or identity signed, of this repository.

        Errors: a key and an identity, or a malformed one.
        """
        key = await public_key.contents() if public_key else ""
        if not key and not signed_by:
            key = await own_key(self.source, self.path)
        trust = Trust(
            public_key=key,
            signed_by=signed_by,
            issuer=issuer,
            ref=ref,
            trusted_root=trusted_root,
            repository=repository,
        )
        return self._with(trust=check_trust(trust))

    @uncached
    async def key_pair(
        self, password: Annotated[dagger.Secret, Doc("That opens the private key: env:COSIGN_PASSWORD")]
    ) -> dagger.Directory:
        """Make a key pair to sign with: cosign.key, to keep secret, and cosign.pub, to commit.

        `dagger call key-pair --password env:COSIGN_PASSWORD export --path ../app-key` puts both there.

        Errors: the source has a cosign.pub already.
        """
        if await own_key(self.source, self.path):
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
        return await Release.taken_up(
            ref,
            username=username,
            password=password,
            registry_service=registry_service,
            images=self.images,
            trust=await self._trust(),
            name=await self._name(),
            delivery=delivery_of(self.service),
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
        await self._check_path()
        service = await check_manifest(self.service, ())
        place = await Place.connect(
            name,
            service,
            kubeconfig,
            context=context,
            namespace=namespace,
            api_server=api_server,
            images=self.images,
            trust=await self._trust(),
            delivery=delivery_of(self.service),
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

        Errors: bad arguments at once, and a cluster that is not there or manifests that it would not take; then the
        failing stage, its tool's last lines and a hint.
        """
        check_target(registry, username, password, registry_service)
        check_platforms(platforms)
        check_severities(severity)
        if tag:
            check_tag(tag)
        if registry is not None:
            check_releasable(await self._commit())
        await self._signatures()
        if frozen:
            pins.check_frozen(await pinning.find(self.source, self.path, await self._name(), self.images))
        if kubeconfig:
            environment = environment or STAGING
            where = await self.environment(environment, kubeconfig, context, namespace, api_server)
            await self._check_destination(where.place, registry, manifests, allow_unsigned=allow_unsigned)
        elif environment or context or namespace or api_server or manifests or url:
            raise InvalidInputError("ship: there is no cluster to deploy to", hint="give --kubeconfig env:KUBECONFIG")
        await self._check_runnable(platforms)
        rehearsal = registry is None
        log = Logbook()
        told = Run(name=self.path, stages=list(log.stages.values()), rehearsal=rehearsal, environment=environment)
        told.skipped, told.link = [gate.value for gate in self.skip], link
        told.after_failure = bool(kubeconfig) and await where.place.troubled()
        evidence = dag.directory()
        try:
            verified = await log.stage("verify", self.verify())
            told.name, told.commit, told.dirty = verified.name, verified.commit.sha, verified.commit.dirty
            candidate = await log.stage("build", verified.build(platforms))
            told.base_image = candidate.base_image

            async def scan() -> Cleared:
                nonlocal evidence
                told.verdict, evidence = await candidate.examine(
                    await ignores_in(delivery_of(self.service), ignore), scanner, severity
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

    def _with(self, *, signer: Signer | None = None, trust: Trust | None = None) -> Self:
        """Return another one, which signs or trusts otherwise."""
        other = copy.copy(self)
        other.signer, other.trust = signer or self.signer, trust or self.trust
        return other

    async def _npm(
        self, name: str, container: dagger.Container | None = None, seconds: int = GATE_SECONDS, beside: str = ""
    ) -> str:
        """Run one npm script, dependencies and services included; return its output."""
        await self._check_path()
        argv = ["npm", "test"] if name == "test" else ["npm", "run", name]
        output = await run(
            container or self.toolchain.workshop(),
            argv,
            what=name,
            hint=f"run it in the source folder{beside}: {' '.join(argv)}",
            seconds=seconds,
        )
        say("verify", f"{name} passed")
        return output

    async def _pins(self) -> list[Pin]:
        """Return what is pinned, and since when."""
        found = await pinning.find(self.source, self.path, await self._name(), self.images)
        return await pinning.dated(found, self.source, image=self.git_image)

    async def _signatures(self, url: str = "") -> Signatures:
        """Return who signs, after seeing that it can, and whose signature is asked for."""
        signatures = Signatures(signer=self.signer, trust=await self._trust(url))
        if self.signer:
            check_signing(signatures)
        return signatures

    async def _trust(self, url: str = "") -> Trust:
        """Return whose signature is asked for: as `with_trust` says, else of the source's own cosign.pub, if any.

        Args:
            url: address of the source's repository, where it was read before.
        """
        given = self.trust or check_trust(Trust(public_key=await own_key(self.source, self.path)))
        address = given.repository or url or await read_origin(self.source, image=self.git_image)
        return dataclasses.replace(given, repository=address, path=self.path)

    async def _check_destination(
        self, place: Place, registry: str | None, manifests: dagger.Directory | None, *, allow_unsigned: bool
    ) -> None:
        """Refuse, before anything expensive, what could not be deployed."""
        if registry is None:
            raise InvalidInputError("ship: a cluster needs a registry to pull from", hint="give --registry")
        check_deployable(place.name)
        if not allow_unsigned:
            check_signable(self.signer, place.trust)
        await place.check(await manifests_in(place.delivery, manifests))

    async def _check_runnable(self, platforms: list[str] | None) -> None:
        """Refuse a platform that the engine cannot run, before any work is done for it."""
        for platform in platforms or ():
            node = Toolchain(self.service, self.images, platform=platform).base()
            try:
                await node.with_exec(["node", "--version"]).sync()
            except dagger.QueryError as error:
                raise InvalidInputError(
                    f"platform {platform} cannot be run here",
                    output=str(error),
                    hint="leave it out, or use an engine with an emulator for it (binfmt_misc)",
                ) from error

    async def _name(self) -> str:
        """Return the service's name, or an empty string where there is no service in the source."""
        if not await self.service.exists("package.json"):
            return ""
        return await check_manifest(self.service, ())

    async def _commit(self) -> Commit:
        """Read the commit of the source."""
        return await read_commit(self.source, self.path, image=self.git_image, sha=self.commit)

    async def _check_path(self) -> None:
        """Refuse a folder that is not in the source."""
        folders = [PurePosixPath(self.path), *PurePosixPath(self.path).parents]
        if folders[-1].is_absolute() or ".." in folders[0].parts:
            raise InvalidInputError(
                f"--path {self.path!r} is not a folder below the source", hint="such as services/api"
            )
        # Through a symbolic link, Git would not see what is built.
        for folder in folders[:-1]:
            if not await self.source.exists(
                str(folder), expected_type=dagger.ExistsType.DIRECTORY_TYPE, do_not_follow_symlinks=True
            ):
                raise InvalidInputError(
                    f"the source has no folder {str(folder)!r}, or it is a symbolic link",
                    hint="give the folder with package.json as --path",
                )

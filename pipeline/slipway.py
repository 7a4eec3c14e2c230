"""The module's entry: source comes in here, once."""

import copy
import dataclasses
from pathlib import PurePosixPath
from typing import Self

import dagger

from pipeline import images
from pipeline.api import arguments
from pipeline.api.checked_source import CheckedSource
from pipeline.api.environment import Environment
from pipeline.api.release import Release
from pipeline.api.shipment import Shipment
from pipeline.check.find_pins import pins_document, pins_table
from pipeline.check.gates import INTEGRATION_SECONDS, Gates
from pipeline.core import sdk
from pipeline.core.sdk import field, function, object_type, uncached
from pipeline.deploy.target import EnvironmentTarget
from pipeline.images import Images
from pipeline.kubernetes.cluster import Cluster
from pipeline.oci.registry import Registry, check_registry
from pipeline.scan.scan import Scanner, check_severities
from pipeline.settings import Settings
from pipeline.ship import ShipOptions, resolve, run_check, run_ship
from pipeline.signing.keys import PUBLIC_KEY, check_no_key
from pipeline.signing.policy import (
    GITHUB_ISSUER,
    MAIN,
    SbomFormat,
    Signer,
    VerificationPolicy,
    check_policy,
    check_signer,
)
from pipeline.signing.sign import generate_key_pair
from pipeline.source.source import Source


@object_type
class Slipway:
    """From source to production: check, build, scan, publish, deploy, smoke."""

    source: arguments.SourceRoot = field()
    path: arguments.ServicePath = field(default="app")
    commit: arguments.CommitHash = field(default="")
    npmrc: arguments.Npmrc = field(default=None)
    skip: arguments.Skip = field(default=list)
    node_image: arguments.NodeImage = field(default=images.NODE)
    tool_image: arguments.ToolImage = field(default=images.TOOL)
    postgres_image: arguments.PostgresImage = field(default=images.POSTGRES)
    registry_image: arguments.RegistryImage = field(default=images.REGISTRY)
    git_image: arguments.GitImage = field(default=images.GIT)
    trivy_image: arguments.TrivyImage = field(default=images.TRIVY)
    kubectl_image: arguments.KubectlImage = field(default=images.KUBECTL)
    cosign_image: arguments.CosignImage = field(default=images.COSIGN)
    gitleaks_image: arguments.GitleaksImage = field(default=images.GITLEAKS)
    configured: arguments.Configured = field(default=Settings, init=False)

    def __post_init__(self) -> None:
        """Read `./app/` as `app`: provenance and pins name the folder, and must name it alike."""
        self.path = str(PurePosixPath(self.path))

    @uncached
    def with_registry(
        self,
        address: arguments.RegistryAddress,
        username: arguments.Username = "",
        password: arguments.RegistryPassword = None,
        service: arguments.RegistryService = None,
    ) -> Self:
        """Publish to a registry, and read releases from it. Without it, everything is a rehearsal.

        Errors: a malformed address; a user without password, or the reverse.
        """
        registry = Registry(
            address=address, username=username, password=password, service=service, tool_image=self.tool_image
        )
        return self._with(registry=check_registry(registry))

    @uncached
    async def with_environment(
        self,
        name: arguments.EnvironmentName,
        kubeconfig: arguments.KubeconfigSecret,
        context: arguments.KubeContext = "",
        namespace: arguments.Namespace = "",
        api_server: arguments.ApiServer = None,
        url: arguments.ServiceUrl = "",
        url_service: arguments.UrlService = None,
        manifests: arguments.Manifests = None,
    ) -> Self:
        """Add an environment in a Kubernetes cluster. `ship` deploys to staging; `promote` reaches the next ones.

        Errors: a kubeconfig that is not usable; a name or URL that is malformed.
        """
        cluster = await Cluster.connect(kubeconfig, context=context, namespace=namespace, api_server=api_server)
        target = EnvironmentTarget(name=name, cluster=cluster, url=url, url_service=url_service, manifests=manifests)
        return self._with(environments=self.configured.with_environment(target))

    @uncached
    def with_scanner(
        self,
        container: arguments.ScannerContainer = None,
        severity: arguments.Severity = None,
        ignore: arguments.IgnoreFile = None,
    ) -> Self:
        """Scan images otherwise: with your own scanner, severities or accepted findings.

        Errors: a severity that Trivy does not know.
        """
        return self._with(
            scanner=Scanner(container=container, severity=check_severities(severity or []), ignore=ignore)
        )

    @uncached
    def with_signer(
        self,
        key: arguments.SigningKey = None,
        password: arguments.KeyPassword = None,
        identity_token: arguments.IdentityToken = None,
        request_url: arguments.TokenRequestUrl = "",
        request_token: arguments.TokenRequestToken = None,
        signing_config: arguments.SigningConfig = None,
        sbom: arguments.Sbom = SbomFormat.CYCLONEDX,
    ) -> Self:
        """Sign what is published, and attach provenance and SBOM, by the digest.

        Errors: more than one way to sign, or an incomplete one.
        """
        signer = Signer(key=key, password=password, identity_token=identity_token, request_url=request_url, sbom=sbom)
        signer = dataclasses.replace(signer, request_token=request_token, signing_config=signing_config)
        return self._with(signer=check_signer(signer))

    @uncached
    async def with_verification(
        self,
        public_key: arguments.PublicKey = None,
        certificate_identity: arguments.CertificateIdentity = "",
        certificate_oidc_issuer: arguments.CertificateIssuer = GITHUB_ISSUER,
        ref: arguments.GitRef = MAIN,
        repository: arguments.RepositoryUrl = "",
        trusted_root: arguments.TrustedRoot = None,
        allow_unsigned: arguments.AllowUnsigned = False,
    ) -> Self:
        """Deploy and promote only what this key or identity signed, of this repository.

        Errors: a key and an identity, or a malformed one.
        """
        policy = VerificationPolicy(
            public_key=await public_key.contents() if public_key else "",
            certificate_identity=certificate_identity,
            certificate_oidc_issuer=certificate_oidc_issuer,
            ref=ref,
            trusted_root=trusted_root,
            repository=repository,
            allow_unsigned=allow_unsigned,
        )
        return self._with(verification=check_policy(policy))

    @function
    @sdk.check
    async def lint(self) -> str:
        """Lint the source: `npm run lint`."""
        return await self._gates.npm("lint", "lint")

    @function
    @sdk.check
    async def types(self) -> str:
        """Check the types: `npm run typecheck`."""
        return await self._gates.npm("types", "typecheck")

    @function
    @sdk.check
    async def unit(self) -> str:
        """Run the unit tests: `npm test`."""
        return await self._gates.npm("unit", "test")

    @function
    @sdk.check
    async def integration(self, seconds: arguments.TestSeconds = INTEGRATION_SECONDS) -> str:
        """Run the integration tests beside a real PostgreSQL, once it is ready: `npm run test:integration`."""
        return await self._gates.integration(seconds)

    @function
    @sdk.check
    async def manifests(self) -> str:
        """Check the Kubernetes manifests in deploy/, of each environment: schemas and policy. Needs no cluster."""
        return await self._gates.manifests()

    @function
    @sdk.check
    async def secrets(self) -> str:
        """Search the source for secrets, but not files that Git ignores: gitleaks.

        Errors: a finding, by file, rule and line; gitleaks is not available or fails; rules that would find nothing.
        """
        return await self._gates.secrets()

    @uncached
    @sdk.check
    async def licenses(self) -> str:
        """Check the licenses of the production dependencies: strong copyleft and unknown ones are refused.

        Errors: a package that must not be shipped; an ignore without reason, without date or past its date.
        """
        return await self._gates.licenses()

    @uncached
    async def check(self, gates: arguments.FurtherGates = None) -> CheckedSource:
        """Run all gates at the same time: lint, types, tests, manifests, secrets, licenses. One failure stops all.

        Errors: no package.json or lock file; a missing npm script; each failing tool's last lines.
        """
        return await run_check(self._source, self._settings, gates or [])

    @uncached
    async def ship(
        self,
        environment: arguments.ShipEnvironment = "",
        tag: arguments.Tag = "",
        platforms: arguments.Platforms = None,
        frozen: arguments.Frozen = False,
        link: arguments.Link = "",
        gates: arguments.FurtherGates = None,
        builder: arguments.OwnBuilder = None,
        deployer: arguments.OwnDeployer = None,
    ) -> Shipment:
        """Run the whole chain: check, build, scan, publish, deploy, smoke. Ends with a table and the digest.

        Without `with-registry` it is a rehearsal, against a throwaway registry and environment. With
        `with-environment` it deploys to staging and verifies it there; `promote` reaches production.
        `ship report export --path report` gives the report, also of a failed run.

        Errors: before anything expensive, a bad argument, an unreachable cluster, manifests that it would refuse, a
        signature that would be missing; then the failing stage, its tool's last lines and a hint.
        """
        options = ShipOptions(environment, tag, platforms, frozen, link, gates or [], builder, deployer)
        return await run_ship(self._source, self._settings, options)

    @uncached
    async def release(self, ref: arguments.ReleaseReference) -> Release:
        """Read a release that was published before, by digest, from its registry.

        Errors: a tag instead of a digest; a reference that does not exist, is no image, or does not name its commit.
        """
        project = await self._source.project_if_any()
        return await Release.from_reference(ref, project, await resolve(self._source, self._settings))

    @uncached
    async def environment(self, name: arguments.EnvironmentName) -> Environment:
        """An environment of the service in a cluster: its status, history, verifications, and the way back.

        Errors: no environment of that name is configured.
        """
        self._settings.environment(name)
        return Environment.of(name, await self._source.project(), await resolve(self._source, self._settings))

    @uncached
    async def key_pair(self, password: arguments.NewKeyPassword) -> dagger.Directory:
        """Make a key pair to sign with: cosign.key, to keep secret, and cosign.pub, to commit.

        Errors: the source has a cosign.pub already.
        """
        check_no_key(await self._source.nearest_file(PUBLIC_KEY))
        return await generate_key_pair(self._settings.images, password)

    @uncached
    async def pins(self) -> str:
        """Everything that is fetched at run time: its pin, the pin's age in days, how to refresh it. A table."""
        return await pins_table(self._source, self._settings.images)

    @uncached
    async def pins_json(self) -> str:
        """The same as JSON."""
        return await pins_document(self._source, self._settings.images)

    @property
    def _settings(self) -> Settings:
        images = Images(**{image.name: getattr(self, f"{image.name}_image") for image in dataclasses.fields(Images)})
        return dataclasses.replace(self.configured, images=images, npmrc=self.npmrc, skip=self.skip)

    @property
    def _source(self) -> Source:
        return Source(self.source, self.path, self.git_image, self.commit)

    @property
    def _gates(self) -> Gates:
        return Gates(self._source, self._settings.images, self.npmrc)

    def _with(self, **changes: object) -> Self:
        other = copy.copy(self)
        other.configured = dataclasses.replace(self.configured, **changes)  # type: ignore[arg-type]
        return other

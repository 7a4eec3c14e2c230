"""The arguments of the API's functions, with their `--help`."""

from typing import Annotated

import dagger
from dagger import DefaultPath, Doc, Ignore

from pipeline.check.gates import SkippableGate
from pipeline.core.interfaces import Builder, Deployer, Gate
from pipeline.settings import Settings
from pipeline.signing.policy import SbomFormat

# The constructor's

NOT_SOURCE = ["node_modules", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"]
SourceRoot = Annotated[
    dagger.Directory,
    DefaultPath("/"),
    Ignore([f"**/{name}" for name in NOT_SOURCE]),
    Doc("The root of the repository, with its .git."),
]
ServicePath = Annotated[str, Doc("The folder of the service in the repository: the one with package.json.")]
CommitHash = Annotated[str, Doc("Full hash of the commit, where the source has no .git.")]
Npmrc = Annotated[dagger.Secret | None, Doc("npm's user configuration, for private registries: file:$HOME/.npmrc")]
Skip = Annotated[list[SkippableGate], Doc("Gates to turn off, such as secrets,licenses. The report says so.")]
NodeImage = Annotated[str, Doc("Node, for checking, building and running the service.")]
ToolImage = Annotated[str, Doc("Node, for Slipway's own programs, in the engine and in a cluster.")]
PostgresImage = Annotated[str, Doc("PostgreSQL, for integration tests and rehearsals.")]
RegistryImage = Annotated[str, Doc("The throwaway registry of a rehearsal.")]
GitImage = Annotated[str, Doc("Git, which reads the commit of the source.")]
TrivyImage = Annotated[str, Doc("Trivy, the scanner.")]
KubectlImage = Annotated[str, Doc("kubectl, for Kubernetes environments.")]
CosignImage = Annotated[str, Doc("Cosign, which signs and verifies.")]
GitleaksImage = Annotated[str, Doc("Gitleaks, which searches for secrets.")]
Configured = Annotated[Settings, Doc("What the `with-*` functions have set.")]

# with-registry

RegistryAddress = Annotated[str, Doc("Where to publish, such as ghcr.io/org/app.")]
Username = Annotated[str, Doc("User of the registry.")]
RegistryPassword = Annotated[dagger.Secret | None, Doc("Password or token of the registry: env:TOKEN")]
RegistryService = Annotated[
    dagger.Service | None, Doc("The registry as a service, for localhost addresses: tcp://localhost:5000")
]

# with-environment

EnvironmentName = Annotated[str, Doc("Such as staging.")]
KubeconfigSecret = Annotated[
    dagger.Secret, Doc("Kubeconfig of the cluster, raw or in base64: env:KUBECONFIG, file:PATH")
]
KubeContext = Annotated[str, Doc("Context in the kubeconfig. Default: its current one.")]
Namespace = Annotated[str, Doc("Default: the context's, else SERVICE-ENVIRONMENT.")]
ApiServer = Annotated[
    dagger.Service | None, Doc("The API server, where only this machine reaches it: tcp://127.0.0.1:6443")
]
ServiceUrl = Annotated[
    str, Doc("URL of the deployed service, such as https://staging.example.com. Default: tested inside the cluster.")
]
UrlService = Annotated[
    dagger.Service | None, Doc("The host of the URL, where only this machine reaches it: tcp://127.0.0.1:8080")
]
Manifests = Annotated[
    dagger.Directory | None, Doc("Folder with overlays/ENVIRONMENT. Default: deploy/ of the service.")
]

# with-scanner

ScannerContainer = Annotated[dagger.Container | None, Doc("Your own scanner: a container with trivy on its PATH.")]
Severity = Annotated[list[str] | None, Doc("What closes the gate. Default: CRITICAL,HIGH.")]
IgnoreFile = Annotated[
    dagger.File | None, Doc("Accepted findings. Default: .trivyignore.yaml in the service's folder.")
]

# with-signer

SigningKey = Annotated[dagger.Secret | None, Doc("cosign's private key: file:cosign.key")]
KeyPassword = Annotated[dagger.Secret | None, Doc("Password of the key: env:COSIGN_PASSWORD")]
IdentityToken = Annotated[dagger.Secret | None, Doc("Keyless: an OIDC token for the audience `sigstore`.")]
TokenRequestUrl = Annotated[str, Doc("Keyless, in a GitHub job: $ACTIONS_ID_TOKEN_REQUEST_URL")]
TokenRequestToken = Annotated[dagger.Secret | None, Doc("Keyless, in a GitHub job: env:ACTIONS_ID_TOKEN_REQUEST_TOKEN")]
SigningConfig = Annotated[dagger.File | None, Doc("Keyless, with a Sigstore of your own.")]
Sbom = Annotated[SbomFormat, Doc("Format of the SBOM.")]

# with-verification

PublicKey = Annotated[dagger.File | None, Doc("cosign.pub. Default: that of the service or the repository.")]
CertificateIdentity = Annotated[
    str, Doc("Keyless: https://github.com/ORG/APP/.github/workflows/ship.yml@refs/heads/main")
]
CertificateIssuer = Annotated[str, Doc("Keyless: the OIDC issuer of the identity.")]
GitRef = Annotated[str, Doc("Keyless, on GitHub: the Git ref that the workflow ran for; empty for any.")]
RepositoryUrl = Annotated[str, Doc("Address of the repository. Default: that of the remote `origin`.")]
TrustedRoot = Annotated[dagger.File | None, Doc("Keyless, with a Sigstore of your own.")]
AllowUnsigned = Annotated[
    bool, Doc("Allow deploying an unsigned image. Logged as a warning and recorded in the history.")
]

# Stages

FurtherGates = Annotated[list[Gate] | None, Doc("Gates of other modules, beside Slipway's own.")]
OwnBuilder = Annotated[Builder | None, Doc("A builder of another module. Default: Node.")]
OwnDeployer = Annotated[Deployer | None, Doc("A deployer of another module, instead of Kubernetes.")]
Platforms = Annotated[list[str] | None, Doc("Platforms, such as linux/amd64,linux/arm64. Default: the engine's own.")]
Tag = Annotated[str, Doc("Tag for people. Default: twelve digits of the commit.")]
Frozen = Annotated[bool, Doc("Fail if anything that is fetched is not pinned: see `pins`.")]
ShipEnvironment = Annotated[str, Doc("Where to deploy. Default: staging, or a rehearsal where none is configured.")]
DeployEnvironment = Annotated[str, Doc("Where to, such as staging: see `with-environment`.")]
RolloutSeconds = Annotated[int, Doc("Deadline of the rollout (in a rehearsal, of database and service), in seconds.")]
TestSeconds = Annotated[int, Doc("Deadline of database and tests, in seconds.")]
Wait = Annotated[int, Doc("How long to wait while another run holds the environment, in seconds.")]
ForceConflicts = Annotated[bool, Doc("Take over fields of the manifests that another field manager owns.")]
Link = Annotated[str, Doc("Address of the CI run, for the history.")]
MaxAgeHours = Annotated[int, Doc("How old the verification may be, in hours.")]
SmokeTest = Annotated[
    dagger.File | None,
    Doc("A JavaScript module that throws when a round trip fails. Default: the service's smoke.mjs."),
]
ReleaseReference = Annotated[str, Doc("host/path@sha256:… of an image that was published before.")]
NewKeyPassword = Annotated[dagger.Secret, Doc("Password for the private key: env:COSIGN_PASSWORD")]

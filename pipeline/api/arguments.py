"""Arguments that several functions have in common, with what `--help` says of them."""

from typing import Annotated

import dagger
from dagger import Doc

KubeconfigSecret = Annotated[
    dagger.Secret, Doc("Kubeconfig of the cluster, raw or in base64: env:KUBECONFIG, file:PATH")
]
OptionalKubeconfig = Annotated[
    dagger.Secret | None, Doc("Kubeconfig of the cluster, raw or in base64: env:KUBECONFIG, file:PATH")
]
Context = Annotated[str, Doc("Context in the kubeconfig. Default: its current one.")]
Namespace = Annotated[str, Doc("Default: the context's, else SERVICE-ENVIRONMENT.")]
ApiServer = Annotated[
    dagger.Service | None, Doc("The API server, where only this machine reaches it: tcp://127.0.0.1:6443")
]
Manifests = Annotated[
    dagger.Directory | None, Doc("Folder with overlays/ENVIRONMENT. Default: deploy/ of the service.")
]
RolloutSeconds = Annotated[
    int, Doc("How long the rollout (in a rehearsal, database and service) may take, in seconds.")
]
Wait = Annotated[int, Doc("How long another run may hold the environment, in seconds.")]
ForceConflicts = Annotated[bool, Doc("Take over fields of the manifests that somebody else manages.")]
AllowUnsigned = Annotated[bool, Doc("Deploy without a signature. For the first day: it is told loudly and recorded.")]
Link = Annotated[str, Doc("Address of the CI run, for the history.")]
MaxAgeHours = Annotated[int, Doc("How old the proof may be, in hours.")]
IgnoreFile = Annotated[dagger.File | None, Doc("Ignores. Default: .trivyignore.yaml in the service's folder.")]
Scanner = Annotated[dagger.Container | None, Doc("Your own scanner: a container with trivy on its PATH.")]
Severity = Annotated[list[str] | None, Doc("What closes the gate. Default: CRITICAL,HIGH.")]
Username = Annotated[str, Doc("User of the registry.")]
Password = Annotated[dagger.Secret | None, Doc("Password or token of the registry: env:TOKEN")]
RegistryService = Annotated[dagger.Service | None, Doc("The registry as a service, for localhost addresses.")]
SmokeUrl = Annotated[
    str, Doc("Where the deployed service answers, such as https://staging.example.com. Default: asked from inside.")
]
UrlService = Annotated[
    dagger.Service | None, Doc("What answers at the URL, where only this machine reaches it: tcp://127.0.0.1:8080")
]

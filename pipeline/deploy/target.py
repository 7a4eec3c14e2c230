"""An environment as it is configured: a namespace of a cluster, and how the service is reached there."""

from typing import Annotated

import dagger
from dagger import Doc

from pipeline.core.sdk import field, object_type
from pipeline.kubernetes.cluster import Cluster
from pipeline.oci.references import check_name


@object_type
class EnvironmentTarget:
    """Where a release is deployed to: one namespace of a Kubernetes cluster."""

    name: Annotated[str, Doc("Such as staging.")] = field()
    cluster: Annotated[Cluster, Doc("The cluster, and the credentials to use there.")] = field()
    url: Annotated[str, Doc("URL at which the service is reached; empty for inside the cluster.")] = field(default="")
    url_service: Annotated[dagger.Service | None, Doc("The host of that URL, where only this machine reaches it.")] = (
        field(default=None)
    )
    manifests: Annotated[dagger.Directory | None, Doc("Kubernetes manifests; the service's own if empty.")] = field(
        default=None
    )

    def namespace_of(self, service: str) -> str:
        """Return the namespace of a service: the configured one, else SERVICE-ENVIRONMENT.

        Raises:
            InvalidInputError: if Kubernetes does not accept that name.
        """
        return check_name("namespace", self.cluster.namespace or f"{service}-{self.name}")

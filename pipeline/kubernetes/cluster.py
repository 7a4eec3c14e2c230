"""One namespace of a Kubernetes cluster, and the credentials to use there."""

from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.core import clock
from pipeline.core.execution import run_id
from pipeline.core.sdk import field, object_type
from pipeline.kubernetes.kubeconfig import Kubeconfig
from pipeline.oci.references import check_name

SERVER_ALIAS = "kubernetes"


@object_type
class Cluster:
    """One namespace of a Kubernetes cluster, and the credentials to use there."""

    kubeconfig: Annotated[dagger.Secret, Doc("A kubeconfig with one context, which needs no other file.")] = field()
    server: Annotated[str, Doc("The API server's address.")] = field()
    namespace: Annotated[str, Doc("The namespace; empty for one of each service and environment.")] = field()
    api_server: Annotated[dagger.Service | None, Doc("The API server as a service of this session.")] = field(
        default=None
    )
    expires: Annotated[str, Doc("When the credentials expire, RFC 3339; empty if unknown.")] = field(default="")

    @classmethod
    async def connect(
        cls,
        kubeconfig: dagger.Secret,
        *,
        context: str,
        namespace: str,
        api_server: dagger.Service | None,
    ) -> "Cluster":
        """Parse a kubeconfig, and keep the parts that are needed.

        Args:
            kubeconfig: raw or in base64.
            context: the context in it; empty for its current one.
            namespace: the namespace; empty for the context's, which may be empty too.
            api_server: the API server as a service of this session, if it is not reachable otherwise.

        Raises:
            InvalidInputError: if the kubeconfig is not usable, or the namespace is malformed.
        """
        config = Kubeconfig.parse(await kubeconfig.plaintext(), context)
        document = config.document(host=SERVER_ALIAS if api_server else "")
        return cls(
            kubeconfig=dag.set_secret(f"slipway-kubeconfig-{run_id()}", document),
            server=config.server,
            namespace=check_name("namespace", name) if (name := namespace or config.namespace) else "",
            api_server=api_server,
            expires=clock.timestamp(config.expires) if config.expires else "",
        )

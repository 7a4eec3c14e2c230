"""What is checked of a cluster before anything expensive is done."""

from collections.abc import Sequence

from pipeline.core.errors import ClusterError, error_context
from pipeline.deploy.context import DeployContext
from pipeline.kubernetes import manifests
from pipeline.kubernetes.manifests import Manifest

# What Slipway itself does in a namespace, besides deploying the manifests.
NEEDED = (
    ("get", "apps", "deployments"),
    ("list", "apps", "deployments"),
    ("list", "apps", "replicasets"),
    ("list", "", "pods"),
    ("get", "", "pods/log"),
    ("list", "", "events"),
    ("create", "batch", "jobs"),
    ("get", "batch", "jobs"),
    ("list", "batch", "jobs"),
    ("delete", "batch", "jobs"),
    ("list", "", "configmaps"),
    ("create", "", "configmaps"),
    ("patch", "", "configmaps"),
    ("delete", "", "configmaps"),
    ("get", "coordination.k8s.io", "leases"),
    ("create", "coordination.k8s.io", "leases"),
    ("update", "coordination.k8s.io", "leases"),
)
VERBS = ("get", "create", "patch", "delete")
PROBE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "slipway-check"}}


async def preflight(context: DeployContext, objects: Sequence[Manifest] = ()) -> str:
    """Check that the cluster is reachable and grants the required permissions; return the authenticated user.

    Args:
        context: the environment.
        objects: the manifests that will be deployed.

    Raises:
        ClusterError: it cannot be reached, the credentials are not accepted, or a permission is missing.
    """
    with error_context(f"deploy to {context.environment}"):
        return await check_access(context, objects)


async def check_access(context: DeployContext, objects: Sequence[Manifest] = ()) -> str:
    """Do the same for an operation that names itself in errors."""
    needed = [(verb, *manifests.resource_of(manifest)) for manifest in objects for verb in VERBS]
    review = await context.client.review_access()
    if missing := review.missing(dict.fromkeys([*NEEDED, *needed])):
        raise ClusterError(
            f"{review.user} lacks permissions in namespace {context.client.namespace}",
            output="\n".join(f"{verb} {resource}{f'.{group}' if group else ''}" for verb, group, resource in missing),
            hint="apply app/deploy/access/deployer.yaml to the namespace, or compare the Role with it",
        )
    # The review succeeds without the namespace; creating an object in it does not.
    await context.client.create(PROBE, dry_run=True)
    return review.user

"""Who may deploy: credentials, permissions and the API server itself. Nothing is changed where something is missing."""

import functools
import urllib.error
from collections.abc import Callable, Iterable

import pytest

from pipeline.core.errors import ClusterError
from pipeline.deploy.kubernetes_deployer import context_of, manifests_of
from pipeline.deploy.preflight import NEEDED, VERBS, preflight
from pipeline.images import Images
from pipeline.kubernetes.manifests import resource_of
from tests.cluster.conftest import Busy
from tests.cluster.space import Space, until

pytestmark = pytest.mark.kubernetes

ROLE = "rbac.authorization.k8s.io/v1/roles/slipway"


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        pytest.param(lambda _: "foreign", "they belong to another cluster, or were revoked", id="foreign"),
        pytest.param(Space.revoked_token, "they belong to another cluster, or were revoked", id="revoked"),
        pytest.param(Space.expired_token, "they expired on 2026-01-01 at 00:00 UTC", id="expired"),
    ],
)
async def test_credentials_that_are_not_accepted_are_explained(
    space: Space, token: Callable[[Space], str], problem: str
):
    config = space.control.kubeconfig(token(space))
    with pytest.raises(ClusterError, match=f"deploy to staging: .* does not accept the credentials: {problem}"):
        await space.deploy("better", kubeconfig=space.kubeconfig(config))
    assert space.live() == ""


async def test_each_permission_that_the_role_lacks_is_named(space: Space):
    target, project, images = await space.target(), space.releases["better"].context.project, Images()
    context, objects = context_of(target, project.name, images), await manifests_of(target, project, images)
    needed = {*NEEDED, *((verb, *resource_of(manifest)) for manifest in objects for verb in VERBS)}
    rules, named = space.get(ROLE)["rules"], set()
    assert await preflight(context, objects) == space.deployer
    for dropped in rules:
        lacking = {request for request in needed if permits(dropped, *request)}
        kept = [rule for rule in rules if rule != dropped]
        lacking -= {request for request in lacking if any(permits(rule, *request) for rule in kept)}
        space.request("PUT", ROLE, {"metadata": {"name": "slipway"}, "rules": kept})
        until(functools.partial(are_denied, space, lacking), "the Role is in force")
        with pytest.raises(ClusterError, match=f"{space.deployer} lacks permissions in namespace") as caught:
            await preflight(context, objects)
        lines = {f"{verb} {resource}{f'.{group}' if group else ''}" for verb, group, resource in lacking}
        assert {*caught.value.output.splitlines()} == lines
        named |= lacking
    assert named == needed


def permits(rule: dict[str, list[str]], verb: str, group: str, resource: str) -> bool:
    """Whether a rule of a Role permits a request."""
    return verb in rule["verbs"] and group in rule["apiGroups"] and resource in rule["resources"]


def are_denied(space: Space, requests: Iterable[tuple[str, str, str]]) -> bool:
    """Whether the API server's authorizer denies the deployer all of the requests."""
    for verb, group, resource in requests:
        name, _, subresource = resource.partition("/")
        attributes = {"namespace": space.namespace(), "verb": verb, "group": group, "resource": name}
        review = {"user": space.deployer, "resourceAttributes": attributes | {"subresource": subresource}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        if space.control.request("POST", path, {"spec": review})["status"]["allowed"]:
            return False
    return True


async def test_a_namespace_that_does_not_exist_is_reported(space: Space):
    admin = space.kubeconfig(space.control.kubeconfig())
    with pytest.raises(ClusterError, match="deploy to staging: the namespace does not exist"):
        await space.deploy("better", namespace="no-such-namespace", kubeconfig=admin)
    with pytest.raises(urllib.error.HTTPError):
        space.control.request("GET", "/api/v1/namespaces/no-such-namespace")


async def test_an_api_server_that_is_overloaded_for_a_while_is_waited_for(
    space: Space, busy: Busy, capsys: pytest.CaptureFixture[str]
):
    await space.deploy("better", api_server=busy(6))
    assert space.live() == space.releases["better"].reference
    output = capsys.readouterr().out
    for answer in ("TooManyRequests", "InternalError"):
        assert f"failed (Error from server ({answer})" in output

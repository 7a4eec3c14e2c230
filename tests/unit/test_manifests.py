import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from pipeline.core.errors import InvalidInputError
from pipeline.deploy import policy
from pipeline.kubernetes import job_manifests, manifests, schemas
from pipeline.kubernetes.difference import difference
from pipeline.kubernetes.job_manifests import JobSpec
from pipeline.kubernetes.manifests import Manifest
from pipeline.oci.references import DigestReference

RELEASE = DigestReference.parse("ghcr.io/org/app@sha256:" + "a" * 64)
LABELS = {"app": "app"}
CONTAINER = {
    "name": "web",
    "image": "app",
    "command": ["node", "main.js"],
    "ports": [{"containerPort": 3000}],
    "env": [{"name": "A", "value": "b"}],
    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 3000}},
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 3000}},
    "resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}
POD = {
    "automountServiceAccountToken": False,
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [CONTAINER],
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "app"},
    "spec": {
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": POD},
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "door"},
    "spec": {"selector": LABELS, "ports": [{"port": 80, "targetPort": 3000}]},
}


def good() -> list[Manifest]:
    return copy.deepcopy([DEPLOYMENT, SERVICE])


def _another(**context: object) -> Manifest:
    """Return another Deployment than the release's."""
    other: Any = copy.deepcopy(DEPLOYMENT)
    other["metadata"]["name"] = "cache"
    container = other["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "redis@sha256:" + "c" * 64
    container["securityContext"] |= context
    return dict(other)


def put(path: str, value: object) -> Callable[[list[Manifest]], None]:
    """Return what sets a member of the Deployment, such as `spec.replicas`; None removes it."""

    def change(documents: list[Manifest]) -> None:
        inner: Any = documents[0]
        *way, last = path.split(".")
        for step in way:
            inner = inner[int(step)] if step.isdigit() else inner.setdefault(step, {})
        if value is None:
            del inner[last]
        else:
            inner[last] = value

    return change


POD_PATH = "spec.template.spec"
WEB = f"{POD_PATH}.containers.0"


def test_good_manifests_are_applied():
    policy.check(good(), "app")


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (put("spec.replicas", 0), "replicas is 0"),
        (put("spec.paused", True), "it is paused"),  # noqa: FBT003 - a manifest's
        (put("spec.selector.matchLabels", {"app": "b"}), "its selector does not match its own pods"),
        (put("metadata.namespace", "other"), "chosen by the environment"),
        (put(f"{POD_PATH}.automountServiceAccountToken", None), "automountServiceAccountToken must be false"),
        (put(f"{POD_PATH}.hostNetwork", True), "hostNetwork is not allowed"),  # noqa: FBT003
        (put(f"{POD_PATH}.volumes", [{"name": "v", "hostPath": {"path": "/"}}]), "hostPath volumes are not allowed"),
        (put(f"{POD_PATH}.volumes", [{"name": "v", "nfs": {"path": "/", "server": "s"}}]), "nfs volumes are not"),
        (put(f"{POD_PATH}.securityContext.sysctls", [{"name": "a", "value": "b"}]), "sysctls are not allowed"),
        (put(f"{WEB}.securityContext.procMount", "Unmasked"), "procMount must be Default"),
        (put(f"{WEB}.securityContext.capabilities.add", ["SYS_ADMIN"]), "capabilities SYS_ADMIN are not allowed"),
        (put(f"{WEB}.ports.0.hostPort", 80), "hostPort is not allowed"),
        (put(f"{POD_PATH}.securityContext.runAsNonRoot", None), "must run as non-root"),
        (put(f"{POD_PATH}.securityContext.runAsUser", 0), "must run as non-root"),
        (put(f"{WEB}.securityContext.runAsUser", 0), "must run as non-root"),
        (put(f"{POD_PATH}.securityContext.seccompProfile.type", "Unconfined"), "seccompProfile must be"),
        (put(f"{WEB}.securityContext.privileged", True), "privileged is not allowed"),  # noqa: FBT003
        (put(f"{WEB}.securityContext.allowPrivilegeEscalation", None), "allowPrivilegeEscalation must be false"),
        (put(f"{WEB}.securityContext.readOnlyRootFilesystem", None), "readOnlyRootFilesystem must be true"),
        (put(f"{WEB}.securityContext.capabilities", {"drop": ["NET_RAW"]}), "capabilities must drop ALL"),
        (put(f"{WEB}.resources.limits", {"cpu": "1"}), "memory needs a request and a limit"),
        (put(f"{WEB}.readinessProbe", None), "it has no readinessProbe"),
        (put(f"{POD_PATH}.initContainers", [CONTAINER | {"name": "i", "image": "x:1"}]), "'x:1' is not by digest"),
        (
            lambda documents: documents.append(_another(privileged=True)),
            "deployment.apps/cache: container web: privil",
        ),
        # Of the schemas
        (put("spec.replcas", 3), "'replcas' was unexpected"),
        (put("spec.replicas", "three"), "is not of type 'integer'"),
        (put(f"{WEB}.livenessProbe.httpGet.prot", 1), "'prot' was unexpected"),
        (put("spec.selector", None), "'selector' is a required property"),
        (lambda documents: documents.append({**SERVICE, "kind": "Servce"}), "has no such kind in v1"),
        (lambda documents: documents[1]["spec"].update(selector={"app": "b"}), "its selector matches no pod"),
        (
            lambda documents: documents.append(
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
            ),
            "Slipway does not deploy this kind",
        ),
    ],
)
def test_what_breaks_schema_or_policy_is_named(change: Callable[[list[Manifest]], None], violation: str):
    documents = good()
    change(documents)
    with pytest.raises(InvalidInputError, match=violation):
        policy.check(documents, "app")


def budget(app: str) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}},
    }


def test_a_disruption_budget_is_for_the_pods_of_the_release():
    policy.check([*good(), budget(LABELS["app"])], "app")
    with pytest.raises(InvalidInputError, match=r"poddisruptionbudget\.policy/web: its selector matches no pod"):
        policy.check([*good(), budget("other")], "app")


def test_volumes_of_the_pod_alone_are_allowed():
    documents = good()
    put(f"{POD_PATH}.volumes", [{"name": "tmp", "emptyDir": {}}])(documents)
    policy.check(documents, "app")


def test_exactly_one_deployment_runs_the_release():
    [deployment, service] = good()
    assert manifests.deployment_of([deployment, service], "app") == deployment
    for count, documents in ((0, [service]), (2, [deployment, deployment])):
        with pytest.raises(
            InvalidInputError, match=f"manifests: {count} Deployments have a container with image 'app'"
        ):
            manifests.deployment_of(documents, "app")


def test_the_service_of_a_deployment_selects_its_pods():
    [deployment, service] = good()
    other = {**SERVICE, "spec": {"selector": {"app": "other"}}}
    headless = {**SERVICE, "spec": {}}
    assert manifests.service_of([deployment, other, headless, service], deployment) == service
    assert manifests.service_of([deployment, other, headless], deployment) is None


def test_custom_resources_are_for_the_cluster_to_check():
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"}, "spec": {}}
    policy.check([*good(), route], "app")


@pytest.mark.parametrize("image", ["app:latest", "app", "app@sha256:" + "b" * 64])
def test_the_release_replaces_the_image_that_has_the_services_name(image: str):
    documents = good()
    put(f"{WEB}.image", image)(documents)
    [deployment, service] = manifests.with_release(
        documents, "app", RELEASE, {"service": "app", "digest": RELEASE.digest}
    )
    assert manifests.containers_of(deployment)[0]["image"] == str(RELEASE)
    assert "annotations" not in deployment["spec"]["template"]["metadata"]
    assert manifests.is_managed(service)
    assert manifests.released(deployment, "app") == RELEASE.digest
    assert manifests.released(deployment, "other") == ""


def test_a_live_deployment_with_an_image_changed_by_hand_runs_no_release():
    [deployment, _] = manifests.with_release(good(), "app", RELEASE, {"service": "app", "digest": RELEASE.digest})
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "ghcr.io/org/app:hotfix"
    assert manifests.released(deployment, "app") == ""


def spec(role: str = "migrate", service: str = "app") -> JobSpec:
    return JobSpec(service=service, role=role, run="r" * 32, command=["x"], seconds=60)


def test_a_job_runs_the_release_as_the_deployment_would_but_gets_no_requests():
    [deployment, _] = manifests.with_release(good(), "app", RELEASE, {})
    job = job_manifests.release_job(deployment, RELEASE, spec())
    pod = job["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert (container["image"], container["command"]) == (str(RELEASE), ["x"])
    assert container["env"] == CONTAINER["env"]
    assert container["securityContext"] == CONTAINER["securityContext"]
    assert not {"livenessProbe", "readinessProbe", "ports"} & set(container)
    assert not LABELS.items() <= pod["metadata"]["labels"].items()
    assert job["spec"]["backoffLimit"] == 0


def test_a_tool_job_gets_nothing_of_the_service_but_where_it_may_run():
    documents = good()
    for member, value in {
        "serviceAccountName": "app",
        "imagePullSecrets": [{"name": "mirror"}],
        "nodeSelector": {"pool": "apps"},
        "tolerations": [{"key": "apps"}],
        "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
    }.items():
        put(f"{POD_PATH}.{member}", value)(documents)
    put(f"{WEB}.envFrom", [{"secretRef": {"name": "s"}}])(documents)
    [deployment, _] = manifests.with_release(documents, "app", RELEASE, {})
    job = job_manifests.tool_job(deployment, "tool@sha256:" + "f" * 64, spec("smoke"))
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert (container["image"], container["command"]) == ("tool@sha256:" + "f" * 64, ["x"])
    assert not {"env", "envFrom", "volumeMounts"} & set(container)
    assert not {"serviceAccountName", "volumes", "initContainers"} & set(pod)
    assert pod["automountServiceAccountToken"] is False
    assert (pod["nodeSelector"], pod["imagePullSecrets"]) == ({"pool": "apps"}, [{"name": "mirror"}])
    # It meets the policy for services, too.
    as_deployment = _another()
    as_deployment["spec"]["template"]["spec"] = pod
    assert policy.violations([*good(), as_deployment], "app") == []
    assert schemas.violations([job]) == []


def test_files_are_mounted_beside_the_volumes_of_a_job():
    [deployment, _] = manifests.with_release(good(), "app", RELEASE, {})
    job = job_manifests.tool_job(deployment, "tool", spec("smoke"))
    files = job_manifests.files_for(job, {"a.mjs": "1"})
    job_manifests.mount(job, files, "/slipway")
    assert (files["metadata"]["name"], files["data"]) == (job["metadata"]["name"], {"a.mjs": "1"})
    [mount] = job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/slipway", True)
    assert schemas.violations([job, files]) == []


def test_the_name_of_a_job_fits_into_a_label():
    service = "a-service-with-a-name-as-long-as-a-name-may-be-in-kubernetes-ok"
    name = spec("migrate-dry-run", service).name
    assert name == "a-service-with-a-name-as-long-as-a-nam-migrate-dry-run-rrrrrrrr"
    assert len(name) == 63


@pytest.mark.parametrize("text", ["a: [", "- 1", "kind: Service", "{apiVersion: v1, kind: Service, metadata: {}}"])
def test_a_document_that_is_not_a_manifest_is_refused(text: str):
    with pytest.raises(InvalidInputError, match="manifests:"):
        manifests.parse(text)


def test_a_list_is_its_items():
    listed = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": good()})
    assert manifests.parse(listed) == good()


def test_a_difference_shows_what_changed_and_nothing_else():
    [before, _] = good()
    after = copy.deepcopy(before)
    after["spec"]["replicas"] = 3
    after["metadata"] |= {"resourceVersion": "7", "managedFields": [{}], "annotations": {"slipway/run": "r"}}
    before["metadata"]["annotations"] = {}
    name = manifests.identity(after)
    lines = difference({name: before}, {name: after}).splitlines()
    changed = [line for line in lines if line[0] in "+-" and not line.startswith(("---", "+++"))]
    assert changed == ["+  replicas: 3"]

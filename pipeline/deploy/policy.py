"""What manifests must hold before anything is applied. Pure functions.

Sources: Kubernetes API v1.34; the "restricted" Pod Security Standard.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.core.errors import InvalidInputError
from pipeline.kubernetes import schemas
from pipeline.kubernetes.manifests import Manifest, containers_of, deployment_of, group_of, identity, is_release

# What Slipway deploys; all else belongs to who runs the cluster.
KINDS = {
    ("apps", "Deployment"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("", "ConfigMap"),
    ("policy", "PodDisruptionBudget"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
}
# Of the Pod Security Standard.
VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
PROBES = ("livenessProbe", "readinessProbe")
SECCOMP = {"RuntimeDefault", "Localhost"}


def check(manifests: Sequence[Manifest], name: str, *, what: str) -> None:
    """Check manifests against the schemas of Kubernetes and the policy for services.

    Raises:
        InvalidInputError: with all that is wrong, a line each.
    """
    if problems := schemas.violations(manifests) or violations(manifests, name):
        raise InvalidInputError(
            f"{what}: the manifests may not be applied",
            output="\n".join(problems),
            hint="docs/kubernetes.md tells what they must hold, and why",
        )


def violations(manifests: Sequence[Manifest], name: str) -> list[str]:
    """Return what keeps manifests from being applied, one line each; empty where they may be."""
    problems = [problem for manifest in manifests for problem in _of_any(manifest)]
    deployment = deployment_of(manifests, name)
    problems += [p for m in manifests if m["kind"] == "Deployment" for p in _of_deployment(m, name)]
    labels = deployment["spec"].get("template", {}).get("metadata", {}).get("labels") or {}
    for manifest in manifests:
        selector = (manifest.get("spec") or {}).get("selector")
        if manifest["kind"] == "PodDisruptionBudget":
            selector = (selector or {}).get("matchLabels")
        if (
            manifest["kind"] in {"Service", "PodDisruptionBudget"}
            and selector
            and not selector.items() <= labels.items()
        ):
            problems.append(f"{identity(manifest)}: its selector matches no pod of {identity(deployment)}")
    return list(dict.fromkeys(problems))


def _of_any(manifest: Manifest) -> Iterable[str]:
    if (group_of(manifest), str(manifest["kind"])) not in KINDS:
        yield f"{identity(manifest)}: Slipway does not deploy this kind"
    if manifest["metadata"].get("namespace"):
        yield f"{identity(manifest)}: metadata.namespace is chosen by the environment, not by the manifest"


def _of_deployment(deployment: Manifest, name: str) -> Iterable[str]:
    """Tell of a Deployment: the release's, or another."""
    what = identity(deployment)
    spec = deployment["spec"]
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    matches = (spec.get("selector") or {}).get("matchLabels") or {}
    if not matches or not matches.items() <= labels.items():
        yield f"{what}: its selector does not match its own pods"
    if spec.get("replicas") == 0:
        yield f"{what}: replicas is 0: nothing would run"
    if spec.get("paused"):
        yield f"{what}: it is paused: nothing would be rolled out"
    pod = template.get("spec") or {}
    yield from (f"{what}: {problem}" for problem in _of_pod(pod))
    for container in containers_of(deployment):
        told = f"{what}: container {container.get('name')}"
        security = [*_of_container(container), *_of_security(container, pod.get("securityContext") or {})]
        yield from (f"{told}: {problem}" for problem in security)
        if is_release(container, name):
            yield from (f"{told}: it has no {probe}" for probe in PROBES if probe not in container)
        elif "@sha256:" not in str(container.get("image", "")):
            yield f"{told}: image {str(container.get('image', ''))!r} is not by digest"


def _of_pod(pod: Mapping[str, Any]) -> Iterable[str]:
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken must be false"
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(flag):
            yield f"{flag} is not allowed"
    if (pod.get("securityContext") or {}).get("sysctls"):
        yield "sysctls are not allowed"
    for volume in pod.get("volumes") or []:
        if other := set(volume) - {"name"} - VOLUMES:
            yield f"{', '.join(sorted(other))} volumes are not allowed"


def _of_container(container: Mapping[str, Any]) -> Iterable[str]:
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield "hostPort is not allowed"
    resources = container.get("resources") or {}
    if not (resources.get("requests") or {}).get("memory") or not (resources.get("limits") or {}).get("memory"):
        yield "memory needs a request and a limit"


def _of_security(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterable[str]:
    """Tell of a container's security context; the pod's holds where it says nothing."""
    own = container.get("securityContext") or {}
    both = {**pod, **own}
    capabilities = own.get("capabilities") or {}
    added = set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}
    must = {
        "privileged is not allowed": not own.get("privileged"),
        "allowPrivilegeEscalation must be false": own.get("allowPrivilegeEscalation") is False,
        "readOnlyRootFilesystem must be true": own.get("readOnlyRootFilesystem") is True,
        "procMount must be Default": own.get("procMount", "Default") == "Default",
        "capabilities must drop ALL": "ALL" in (capabilities.get("drop") or []),
        f"capabilities {', '.join(sorted(added))} are not allowed": not added,
        "it must run as non-root": both.get("runAsNonRoot") and both.get("runAsUser") != 0,
        "seccompProfile must be RuntimeDefault or Localhost": (both.get("seccompProfile") or {}).get("type") in SECCOMP,
    }
    return [problem for problem, holds in must.items() if not holds]

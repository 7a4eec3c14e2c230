"""The policy that manifests must meet before anything is applied. Pure functions.

Sources: Kubernetes API v1.34; the "restricted" Pod Security Standard.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.core.errors import InvalidInputError
from pipeline.kubernetes import schemas
from pipeline.kubernetes.manifests import Manifest, containers_of, deployment_of, group_of, identity, is_release

# What Slipway deploys; other kinds are the cluster administrator's.
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
# Allowed by the Pod Security Standard.
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


def check(manifests: Sequence[Manifest], service: str) -> None:
    """Check manifests against the schemas of Kubernetes and the policy for services.

    Raises:
        InvalidInputError: with all violations, a line each.
    """
    if problems := schemas.violations(manifests) or violations(manifests, service):
        raise InvalidInputError(
            "the manifests violate the schemas of Kubernetes or Slipway's policy",
            output="\n".join(problems),
            hint="docs/kubernetes.md lists what manifests must contain, and why",
        )


def violations(manifests: Sequence[Manifest], service: str) -> list[str]:
    """Return what prevents manifests from being applied, one line each; empty if nothing does."""
    problems = [problem for manifest in manifests for problem in _of_any(manifest)]
    deployment = deployment_of(manifests, service)
    problems += [p for m in manifests if m["kind"] == "Deployment" for p in _of_deployment(m, service)]
    labels = deployment["spec"].get("template", {}).get("metadata", {}).get("labels") or {}
    for manifest in manifests:
        selector = _pod_selector(manifest)
        if selector and not selector.items() <= labels.items():
            problems.append(f"{identity(manifest)}: its selector matches no pod of {identity(deployment)}")
    return list(dict.fromkeys(problems))


def _pod_selector(manifest: Manifest) -> Mapping[str, str]:
    """Return the labels by which a Service or PodDisruptionBudget selects pods."""
    selector = (manifest.get("spec") or {}).get("selector") or {}
    if manifest["kind"] == "PodDisruptionBudget":
        return selector.get("matchLabels") or {}
    return selector if manifest["kind"] == "Service" else {}


def _of_any(manifest: Manifest) -> Iterable[str]:
    if (group_of(manifest), str(manifest["kind"])) not in KINDS:
        yield f"{identity(manifest)}: Slipway does not deploy this kind"
    if manifest["metadata"].get("namespace"):
        yield f"{identity(manifest)}: metadata.namespace is chosen by the environment, not by the manifest"


def _of_deployment(deployment: Manifest, service: str) -> Iterable[str]:
    """Return the problems of a Deployment: the release's, or another."""
    name = identity(deployment)
    spec = deployment["spec"]
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    matches = (spec.get("selector") or {}).get("matchLabels") or {}
    if not matches or not matches.items() <= labels.items():
        yield f"{name}: its selector does not match its own pods"
    if spec.get("replicas") == 0:
        yield f"{name}: replicas is 0: nothing would run"
    if spec.get("paused"):
        yield f"{name}: it is paused: nothing would be rolled out"
    pod = template.get("spec") or {}
    yield from (f"{name}: {problem}" for problem in _of_pod(pod))
    for container in containers_of(deployment):
        where = f"{name}: container {container.get('name')}"
        security = [*_of_container(container), *_of_security(container, pod.get("securityContext") or {})]
        yield from (f"{where}: {problem}" for problem in security)
        if is_release(container, service):
            yield from (f"{where}: it has no {probe}" for probe in PROBES if probe not in container)
        elif "@sha256:" not in str(container.get("image", "")):
            yield f"{where}: image {str(container.get('image', ''))!r} is not by digest"


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
    """Return the problems of a container's security context, which overrides the pod's."""
    own = container.get("securityContext") or {}
    effective = {**pod, **own}
    capabilities = own.get("capabilities") or {}
    added = set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}
    profile = (effective.get("seccompProfile") or {}).get("type")
    required = {
        "privileged is not allowed": not own.get("privileged"),
        "allowPrivilegeEscalation must be false": own.get("allowPrivilegeEscalation") is False,
        "readOnlyRootFilesystem must be true": own.get("readOnlyRootFilesystem") is True,
        "procMount must be Default": own.get("procMount", "Default") == "Default",
        "capabilities must drop ALL": "ALL" in (capabilities.get("drop") or []),
        f"capabilities {', '.join(sorted(added))} are not allowed": not added,
        "it must run as non-root": effective.get("runAsNonRoot") and effective.get("runAsUser") != 0,
        "seccompProfile must be RuntimeDefault or Localhost": profile in SECCOMP,
    }
    return [problem for problem, holds in required.items() if not holds]

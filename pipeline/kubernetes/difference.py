"""How objects of a cluster would change. Pure functions."""

import copy
import difflib
from collections.abc import Mapping

import yaml

from pipeline.kubernetes.manifests import PREFIX, Manifest

# What the cluster writes by itself, and what differs in each run.
_ANNOTATIONS_OF_RUN = {f"{PREFIX}/{key}" for key in ("run", "by", "approved-by")}
_METADATA_OF_CLUSTER = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp")


def difference(live: Mapping[str, Manifest], then: Mapping[str, Manifest]) -> str:
    """Return how objects would change, as unified diffs of YAML; both arguments are keyed by identity."""
    lines: list[str] = []
    for name, manifest in then.items():
        before, after = _comparable(live.get(name)), _comparable(manifest)
        head = (f"live {name}" if name in live else "(does not exist)", f"then {name}")
        lines += difflib.unified_diff(before.splitlines(), after.splitlines(), *head, n=2, lineterm="")
    return "\n".join(lines)


def _comparable(manifest: Manifest | None) -> str:
    """Return the YAML of what a manifest declares."""
    if manifest is None:
        return ""
    declared = copy.deepcopy({key: value for key, value in manifest.items() if key != "status"})
    for key in _METADATA_OF_CLUSTER:
        declared["metadata"].pop(key, None)
    annotations = declared["metadata"].get("annotations") or {}
    for key in list(annotations):
        if key in _ANNOTATIONS_OF_RUN or key.startswith("deployment.kubernetes.io/"):
            annotations.pop(key)
    return str(yaml.safe_dump(declared, sort_keys=True))

"""What Slipway needs of one namespace of a Kubernetes cluster."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pipeline.kubernetes.manifests import Manifest


@dataclasses.dataclass(frozen=True, slots=True)
class AccessReview:
    """What the cluster permits the authenticated user to do in the namespace.

    Args:
        user: the user's name.
        rules: `resourceRules` of a SelfSubjectRulesReview.
        incomplete: the server knows of further rules which it cannot list, such as those of an authorization webhook.
    """

    user: str
    rules: Sequence[Mapping[str, Any]]
    incomplete: bool = False

    def missing(self, requests: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
        """Return which requests (verb, API group, resource) no rule permits; none if the rules are incomplete."""
        return [] if self.incomplete else [request for request in requests if not self._permits(*request)]

    def _permits(self, verb: str, group: str, resource: str) -> bool:
        """Whether a rule without resource names covers a request."""
        asked = {"verbs": verb, "apiGroups": group, "resources": resource}
        return any(
            not rule.get("resourceNames")
            and all({"*", value} & set(rule.get(member) or ()) for member, value in asked.items())
            for rule in self.rules
        )


class ClusterClient(Protocol):
    """One namespace of a cluster. `KubectlClient` implements it.

    Objects are named by their identity, `kind.group/name` in lower case; see `manifests.identity`. Each method raises
    ClusterError if the API server refuses, cannot be reached, or keeps failing after several attempts. After such an
    error a change may still have been made: the reply may be what was lost.
    """

    @property
    def server(self) -> str:
        """The API server's address, for messages."""
        ...

    @property
    def namespace(self) -> str:
        """The namespace."""
        ...

    async def get(self, identities: Iterable[str]) -> list[Manifest]:
        """Return the objects that exist among those named."""
        ...

    async def find(
        self, kinds: Sequence[str], *, labels: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        """Return the objects of some kinds, such as `deployments`, selected by labels and fields."""
        ...

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> bool:
        """Create an object; False if one of its name exists."""
        ...

    async def replace(self, manifest: Manifest) -> bool:
        """Replace an object; False if it does not exist, or has another resource version than the manifest."""
        ...

    async def apply(
        self, manifests: Iterable[Manifest], *, force: bool = False, dry_run: bool = False
    ) -> list[Manifest]:
        """Apply objects on the server's side; return them as they are then.

        Args:
            manifests: the objects.
            force: take over fields that another manager owns, instead of failing.
            dry_run: change nothing, and return what the objects would be.
        """
        ...

    async def delete(self, identities: Iterable[str]) -> None:
        """Delete the objects that exist among those named, without waiting; the cluster deletes their dependents."""
        ...

    async def delete_selected(self, kinds: Sequence[str], labels: Mapping[str, str]) -> None:
        """Delete the objects of some kinds that have the labels, without waiting."""
        ...

    async def logs(self, pod: str, container: str, *, lines: int, previous: bool = False) -> str:
        """Return the last lines of a container, or of the one before its last restart. It is not retried."""
        ...

    async def review_access(self) -> AccessReview:
        """Return the authenticated user, and what it may do in the namespace."""
        ...


async def get_one(client: ClusterClient, identity: str) -> Manifest | None:
    """Return an object, or None if it does not exist."""
    return next(iter(await client.get([identity])), None)

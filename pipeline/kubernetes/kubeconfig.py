"""Kubeconfigs: checked, and reduced to the one context that is used.

Source: Kubernetes' `Config` (v1) as kubectl reads it. Messages repeat only names of what a kubeconfig contains.
"""

import base64
import dataclasses
import datetime
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pipeline.core.documents import load_yaml
from pipeline.core.errors import InvalidInputError

# Members that name a file of the user's machine, which no container has.
FILES = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}
FLATTEN = "give one that needs no other file: kubectl config view --raw --minify --flatten"
SERVER_PORT = {"https": 443, "http": 80}


@dataclasses.dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of a kubeconfig: the API server, and the credentials."""

    server: str
    namespace: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def port(self) -> int:
        """The API server's port."""
        parts = urlsplit(self.server)
        return parts.port or SERVER_PORT[parts.scheme]

    @property
    def expires(self) -> datetime.datetime | None:
        """When the token expires, if it is a JSON Web Token, such as a service account's; else None."""
        try:
            payload = str(self.user.get("token") or "").split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return datetime.datetime.fromtimestamp(claims["exp"], datetime.UTC)
        except (LookupError, TypeError, ValueError, OverflowError):
            return None

    def document(self, *, host: str = "") -> str:
        """Return the kubeconfig of this context alone, as JSON.

        Args:
            host: another name by which the same server is reached; its certificate must still be for its own.
        """
        cluster = dict(self.cluster)
        if host:
            parts = urlsplit(self.server)
            cluster["server"] = f"{parts.scheme}://{host}:{self.port}{parts.path}"
            cluster.setdefault("tls-server-name", parts.hostname)
        name = "slipway"
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": name, "cluster": cluster}],
                "users": [{"name": name, "user": dict(self.user)}],
                "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                "current-context": name,
            },
            ensure_ascii=False,  # a YAML reader refuses the surrogate pairs with which JSON escapes some characters
            default=str,  # YAML has dates
        )

    @classmethod
    def parse(cls, text: str, context: str = "") -> "Kubeconfig":
        """Read a kubeconfig, raw or in base64.

        Args:
            text: YAML or JSON, or that in base64.
            context: which of its contexts; its current one by default.

        Raises:
            InvalidInputError: if it is malformed, lacks what the context names, or needs other files or programs.
        """
        document = _load(text)
        name = context or document.get("current-context") or ""
        if not name:
            raise InvalidInputError("kubeconfig: it has no current context", hint="choose one with --context")
        chosen = _named(document, "contexts", "context", name)
        cluster = _named(document, "clusters", "cluster", str(chosen.get("cluster") or ""))
        user = _named(document, "users", "user", str(chosen.get("user") or ""))
        _check_alone(cluster, user)
        server = str(cluster.get("server") or "")
        _check_server(server)
        return cls(server, str(chosen.get("namespace") or ""), cluster, user)


def _load(text: str) -> dict[str, Any]:
    for candidate in (text, _from_base64(text)):
        try:
            documents = load_yaml(candidate)
        except ValueError:
            continue
        if len(documents) == 1 and isinstance(documents[0], dict) and "clusters" in documents[0]:
            return documents[0]
    raise InvalidInputError(
        "kubeconfig: neither YAML with clusters, users and contexts, nor that in base64",
        hint="give the content of the file, such as file:$HOME/.kube/config or env:KUBECONFIG_CONTENT",
    )


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except ValueError:
        return ""


def _check_server(server: str) -> None:
    """Check the address of the API server; a message does not quote credentials in it."""
    shown = server.rpartition("@")[2]
    try:
        parts = urlsplit(server)
        valid = parts.scheme in SERVER_PORT and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise InvalidInputError(f"kubeconfig: server {shown!r} is not an https address")
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1"}:
        raise InvalidInputError(f"kubeconfig: server {shown!r} is without TLS", hint="use its https address")


def _named(document: Mapping[str, Any], kind: str, member: str, name: str) -> dict[str, Any]:
    entries = document.get(kind)
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    for entry in known:
        if entry.get("name") == name and isinstance(entry.get(member), dict):
            return {str(key): value for key, value in entry[member].items()}
    names = ", ".join(str(entry.get("name")) for entry in known) or "none"
    raise InvalidInputError(f"kubeconfig: it has no {member} {name!r}", hint=f"it has: {names}")


def _check_alone(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    """Refuse a kubeconfig that works only on the machine that it comes from."""
    for entry, kind in ((cluster, "cluster"), (user, "user")):
        for member in FILES[kind]:
            if entry.get(member):
                raise InvalidInputError(f"kubeconfig: its {member} is a file of another machine", hint=FLATTEN)
    for member in ("exec", "auth-provider"):
        if user.get(member):
            raise InvalidInputError(
                f"kubeconfig: its user gets credentials from a program ({member}), which kubectl does not have here",
                hint="give a service account's token: see docs/kubernetes.md",
            )
    if cluster.get("insecure-skip-tls-verify"):
        raise InvalidInputError(
            "kubeconfig: insecure-skip-tls-verify would send the credentials to any server",
            hint="give certificate-authority-data instead",
        )

"""Kubeconfigs: checked, and cut down to the one context that is used.

Source: Kubernetes' `Config` (v1) as kubectl reads it. Nothing in a message repeats what a kubeconfig holds, but names.
"""

import base64
import binascii
import dataclasses
import datetime
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

from pipeline.core.errors import InvalidInputError

# What names a file on somebody's own machine, which no container has.
FILES = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}
FLATTEN = "give one that holds everything: kubectl config view --raw --minify --flatten"
SERVER_PORT = {"https": 443, "http": 80}


@dataclasses.dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of a kubeconfig: where the API server is, and who asks."""

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
        """When the token expires, if it is one that says so: a JSON Web Token, such as a service account's."""
        try:
            payload = str(self.user.get("token") or "").split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return datetime.datetime.fromtimestamp(claims["exp"], datetime.UTC)
        except (LookupError, TypeError, ValueError, OverflowError):
            return None

    def document(self, *, host: str = "") -> str:
        """Return the kubeconfig of this context alone, as JSON.

        Args:
            host: another name by which the same server is reached; it still has to prove its own.
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
            }
        )

    @classmethod
    def parse(cls, text: str, context: str = "") -> "Kubeconfig":
        """Read a kubeconfig, raw or in base64.

        Args:
            text: YAML or JSON, or that in base64.
            context: which of its contexts; its current one by default.

        Raises:
            InvalidInputError: if it is none, lacks what the context names, or leans on files and programs of a machine.
        """
        document = _load(text)
        wanted = context or document.get("current-context") or ""
        if not wanted:
            raise InvalidInputError("kubeconfig: it has no current context", hint="choose one with --context")
        chosen = _named(document, "contexts", "context", wanted)
        cluster = _named(document, "clusters", "cluster", str(chosen.get("cluster") or ""))
        user = _named(document, "users", "user", str(chosen.get("user") or ""))
        _check_alone(cluster, user)
        server = str(cluster.get("server") or "")
        parts = urlsplit(server)
        if parts.scheme not in SERVER_PORT or not parts.hostname:
            raise InvalidInputError(f"kubeconfig: server {server!r} is not an https address")
        if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1"}:
            raise InvalidInputError(f"kubeconfig: server {server!r} is without TLS", hint="use its https address")
        return cls(server, str(chosen.get("namespace") or ""), cluster, user)


def _load(text: str) -> dict[str, Any]:
    for candidate in (text, _from_base64(text)):
        try:
            document = yaml.safe_load(candidate)
        except yaml.YAMLError:
            continue
        if isinstance(document, dict) and "clusters" in document:
            return document
    raise InvalidInputError(
        "kubeconfig: neither YAML with clusters, users and contexts, nor that in base64",
        hint="give the file itself, such as file:$HOME/.kube/config or env:KUBECONFIG_CONTENT",
    )


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _named(document: Mapping[str, Any], kind: str, member: str, name: str) -> dict[str, Any]:
    entries = document.get(kind)
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    for entry in known:
        if entry.get("name") == name and isinstance(entry.get(member), dict):
            return dict(entry[member])
    there = ", ".join(str(entry.get("name")) for entry in known) or "none"
    raise InvalidInputError(f"kubeconfig: it has no {member} {name!r}", hint=f"it has: {there}")


def _check_alone(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    """Refuse what works only on the machine that it comes from."""
    for entry, kind in ((cluster, "cluster"), (user, "user")):
        for member in FILES[kind]:
            if entry.get(member):
                raise InvalidInputError(f"kubeconfig: its {member} is a file of another machine", hint=FLATTEN)
    for member in ("exec", "auth-provider"):
        if user.get(member):
            raise InvalidInputError(
                f"kubeconfig: its user gets credentials by a program ({member}), which is not where kubectl runs here",
                hint="give a service account's token: see docs/kubernetes.md",
            )
    if cluster.get("insecure-skip-tls-verify"):
        raise InvalidInputError(
            "kubeconfig: insecure-skip-tls-verify would hand the credentials to anybody",
            hint="give certificate-authority-data instead",
        )

"""What kubectl's standard error means: the cause of a failure, whether a retry may help, and what to try."""

import datetime
import re

from pipeline.core import clock
from pipeline.core.errors import ClusterError

UNKNOWN_CREDENTIALS = "they belong to another cluster, or were revoked"
# What an overloaded, restarting or distant API server answers for a while.
_TRANSIENT = re.compile(
    r"TooManyRequests|too many requests|the server is currently unable|ServiceUnavailable|InternalError|"
    r"etcdserver|server has received too many|an error on the server|Timeout:|timed out|i/o timeout|"
    r"deadline exceeded|connection refused|connection reset|unexpected EOF|: EOF|TLS handshake timeout|"
    r"http2: |failed calling webhook|no endpoints available|the server was unable to return a response",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"denied the request|violates PodSecurity|exceeded quota|forbidden", re.IGNORECASE)
_ALREADY_EXISTS = re.compile(r"\(AlreadyExists\)")
_CONFLICT = re.compile(r"\((Conflict|NotFound)\)|object has been modified")


def is_transient(stderr: str) -> bool:
    """Whether a retry may succeed: after 429, 5xx, resets and timeouts, not after a refusal."""
    return bool(_TRANSIENT.search(stderr)) and not _REFUSED.search(stderr)


def already_exists(stderr: str) -> bool:
    """Whether an object was not created because one of its name exists."""
    return bool(_ALREADY_EXISTS.search(stderr))


def is_conflict(stderr: str) -> bool:
    """Whether an object was not replaced because it changed since it was read, or was deleted."""
    return bool(_CONFLICT.search(stderr))


def explain(verb: str, stderr: str, server: str, expires: datetime.datetime | None = None) -> ClusterError:
    """Return the error for a failed kubectl.

    Args:
        verb: of kubectl, such as `apply`.
        stderr: what kubectl wrote to its standard error.
        server: the API server's address, for the message.
        expires: when the credentials expire, if they contain that.
    """
    expired = expires and expires < clock.now()
    why = f"they expired on {expires:%Y-%m-%d at %H:%M} UTC" if expired else UNKNOWN_CREDENTIALS
    for pattern, problem, hint in _REASONS:
        if re.search(pattern, stderr, re.IGNORECASE):
            return ClusterError(problem.format(server=server, why=why), output=stderr, hint=hint)
    return ClusterError(f"`kubectl {verb}` failed", output=stderr, hint="kubectl's error is shown above")


# The first match counts.
_REASONS = (
    (
        r"must be logged in|\bUnauthorized\b|provide credentials|asked for the client to provide",
        "{server} does not accept the credentials: {why}",
        "create a new token, and give it as --kubeconfig",
    ),
    (
        r"x509|certificate signed by unknown|certificate is not valid",
        "the certificate of {server} is not one that the kubeconfig trusts",
        "check server and certificate-authority-data in the kubeconfig",
    ),
    (
        r"namespaces? \"[^\"]*\" not found",
        "the namespace does not exist",
        "create it: docs/kubernetes.md lists what an environment needs",
    ),
    (
        r"failed calling webhook",
        "an admission webhook of the cluster does not answer",
        "ask the maintainer of the webhook named above; the manifests are not the cause",
    ),
    (
        r"admission webhook|denied the request|violates PodSecurity|ValidatingAdmissionPolicy|admission policy",
        "the cluster's admission control refused the request",
        "change the manifests, or ask the maintainer of the policy named above",
    ),
    (r"exceeded quota", "the namespace's quota is used up", "raise it, or request less in the manifests"),
    (
        r"\bforbidden\b",
        "a permission is missing",
        "compare the deployer's Role with app/deploy/access/deployer.yaml",
    ),
    (
        r"Apply failed with \d+ conflict",
        "another manager owns fields that the manifests set",
        "remove the fields from the manifests, or let Slipway own them: deploy --force-conflicts",
    ),
    (
        r"is invalid:|strict decoding error|unknown field",
        "the cluster does not accept the manifests",
        "fix the fields named above",
    ),
    (
        r"too many requests|TooManyRequests|an error on the server|InternalError|currently unable|etcdserver",
        "{server} is overloaded or failing",
        "run again; if it persists, look at the API server",
    ),
    (
        r"no such host|connection refused|i/o timeout|no route to host|Unable to connect|deadline exceeded|network is",
        "{server} cannot be reached",
        "check the address and the network; an API server of this machine needs --api-server tcp://127.0.0.1:PORT",
    ),
)

"""What kubectl says when it fails: whose fault it is, whether it may pass, and what to try."""

import datetime
import re

from pipeline.core.errors import ClusterError

REQUEST_SECONDS = 20
UNKNOWN_CREDENTIALS = "they are of another cluster, or were revoked"
# What a busy, restarting or faraway API server answers, and then does not.
_PASSING = re.compile(
    r"TooManyRequests|too many requests|the server is currently unable|ServiceUnavailable|InternalError|"
    r"etcdserver|server has received too many|an error on the server|Timeout:|timed out|i/o timeout|"
    r"deadline exceeded|connection refused|connection reset|unexpected EOF|: EOF|TLS handshake timeout|"
    r"http2: |failed calling webhook|no endpoints available|the server was unable to return a response",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"denied the request|violates PodSecurity|exceeded quota|forbidden", re.IGNORECASE)


def may_pass(words: str) -> bool:
    """Whether a failure may be gone the next time: 429, 5xx, resets, time-outs. A refusal is none."""
    return bool(_PASSING.search(words)) and not _REFUSED.search(words)


def explain(what: str, words: str, server: str, expires: datetime.datetime | None = None) -> ClusterError:
    """Return the error that tells of a failed kubectl.

    Args:
        what: what was being done, such as `deploy: applying the manifests`.
        words: what kubectl wrote to its standard error.
        server: the API server's address, for the reader.
        expires: when the credentials expire, if they tell.
    """
    expired = (
        f"they expired on {expires:%Y-%m-%d at %H:%M} UTC"
        if expires and expires < datetime.datetime.now(datetime.UTC)
        else ""
    )
    for pattern, problem, hint in _REASONS:
        if re.search(pattern, words, re.IGNORECASE):
            told = problem.format(server=server, why=expired or UNKNOWN_CREDENTIALS)
            return ClusterError(f"{what}: {told}", output=words, hint=hint)
    return ClusterError(f"{what} failed", output=words, hint="kubectl's own words stand above")


# The first that matches tells.
_REASONS = (
    (
        r"must be logged in|\bUnauthorized\b|provide credentials|asked for the client to provide",
        "{server} does not accept the credentials: {why}",
        "make a new token, and give it as --kubeconfig",
    ),
    (
        r"x509|certificate signed by unknown|certificate is not valid",
        "the certificate of {server} is not the one that the kubeconfig trusts",
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
        "its name stands above: whoever keeps it has to look; nothing of this is in the manifests",
    ),
    (
        r"admission webhook|denied the request|violates PodSecurity|admission policy",
        "the cluster's admission control refused it",
        "its words stand above: change the manifests, or ask who keeps that policy",
    ),
    (r"exceeded quota", "the namespace's quota is used up", "raise it, or ask for less in the manifests"),
    (
        r"\bforbidden\b",
        "a permission is missing",
        "compare the deployer's Role with app/deploy/access/deployer.yaml",
    ),
    (
        r"Apply failed with \d+ conflict",
        "somebody else manages fields that the manifests set",
        "take the fields out of the manifests, or make them Slipway's: deploy --force-conflicts",
    ),
    (
        r"is invalid:|strict decoding error|unknown field",
        "the cluster does not accept the manifests",
        "fix what it names",
    ),
    (
        r"too many requests|TooManyRequests|an error on the server|InternalError|currently unable|etcdserver",
        "{server} is overloaded or failing",
        "run again; if it comes back, look at the API server",
    ),
    (
        r"no such host|connection refused|i/o timeout|no route to host|Unable to connect|deadline exceeded|network is",
        "{server} cannot be reached",
        "check the address and the network; an API server of this machine needs --api-server tcp://127.0.0.1:PORT",
    ),
)

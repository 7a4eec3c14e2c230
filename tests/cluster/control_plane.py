"""A real Kubernetes API server with controllers, scheduler and etcd, whose nodes and pods are kwok's.

It is built from Go modules once, into the cache folder, and started for a test run. No container runs in it: kwok moves
pods through their phases, and the stages in stages.py let some of them fail.
"""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "controlplane"
KUBERNETES = "v1.34.2"
KWOK = "sigs.k8s.io/kwok/cmd/kwok@v0.7.0"
READY_SECONDS = 90
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-0", "labels": {"kubernetes.io/hostname": "node-0"}},
    "status": {
        "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "500"},
        "capacity": {"cpu": "64", "memory": "256Gi", "pods": "500"},
    },
}


def missing() -> str:
    """Say what keeps the control plane from being built here, or nothing."""
    if not shutil.which("go"):
        return "there is no go on PATH"
    if not shutil.which("openssl"):
        return "there is no openssl on PATH"
    return ""


def build() -> Path:
    """Return the folder with the binaries; made from Go modules the first time, which takes about ten minutes."""
    sources = b"".join((SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    name = hashlib.sha256(sources + KWOK.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "slipway-tests" / f"kubernetes-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may come at once
        if not (folder / "done").exists():
            _build(folder)
    return folder


def _build(folder: Path) -> None:
    print(f"building a Kubernetes control plane for the tests into {folder}: about ten minutes, once", flush=True)  # noqa: T201
    version = "k8s.io/component-base/version"
    flags = f"-s -w -X {version}.gitVersion={KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor=34"
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOBIN": str(folder)}
    argv = ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(folder / "controlplane"), "."]
    subprocess.run(argv, cwd=SOURCE, env=env, check=True)
    subprocess.run(["go", "install", "-trimpath", "-ldflags", "-s -w", KWOK], cwd="/", env=env, check=True)
    (folder / "done").touch()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ControlPlane:
    """A running control plane. Requests go through `request`, as its administrator."""

    def __init__(self, folder: Path, binaries: Path, stages: str) -> None:
        self.folder = folder
        self._stages = stages
        self.port = free_port()
        self._binaries = binaries
        self._processes: list[subprocess.Popen[bytes]] = []
        self._admin = secrets.token_hex(16)

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> str:
        """The certificate that the API server made for itself, and its issuer."""
        return (self.folder / "certificates" / "apiserver.crt").read_text()

    def kubeconfig(self, token: str = "", *, namespace: str = "", server: str = "") -> str:
        """Return a kubeconfig for a token; the administrator's without one."""
        cluster = {
            "server": server or self.server,
            "certificate-authority-data": base64.b64encode(self.authority.encode()).decode(),
        }
        context = {"cluster": "test", "user": "test"} | ({"namespace": namespace} if namespace else {})
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "test", "user": {"token": token or self._admin}}],
                "contexts": [{"name": "test", "context": context}],
                "current-context": "test",
            }
        )

    def signed(self, claims: dict[str, object]) -> str:
        """Return claims as a token, signed with the key of service accounts."""

        def packed(data: bytes) -> str:
            return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

        text = ".".join(packed(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        argv = ["openssl", "dgst", "-sha256", "-sign", str(self.folder / "accounts.key")]
        signature = subprocess.run(argv, input=text.encode(), capture_output=True, check=True).stdout
        return f"{text}.{packed(signature)}"

    def start(self) -> None:
        """Start everything, and wait until pods are scheduled."""
        (self.folder / "certificates").mkdir(parents=True)
        key = self.folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        (self.folder / "tokens.csv").write_text(f"{self._admin},admin,admin,system:masters\n")
        clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._run(
            "controlplane", "etcd",
            data_dir=self.folder / "etcd", unsafe_no_fsync="true", log_level="error",
            listen_client_urls=clients, advertise_client_urls=clients,
            listen_peer_urls=peers, initial_advertise_peer_urls=peers, initial_cluster=f"default={peers}",
        )  # fmt: skip
        self._run(
            "controlplane", "kube-apiserver",
            etcd_servers=clients, bind_address="127.0.0.1", secure_port=self.port,
            cert_dir=self.folder / "certificates", token_auth_file=self.folder / "tokens.csv",
            authorization_mode="RBAC", service_cluster_ip_range="10.96.0.0/16",
            service_account_key_file=key, service_account_signing_key_file=key,
            service_account_issuer="https://kubernetes.default.svc",
            # A token expires when it says so, not a year later.
            service_account_extend_token_expiration="false",
        )  # fmt: skip
        self._until(self._answers, "the API server answers")
        admin = self.folder / "kubeconfig"
        admin.write_text(self.kubeconfig())
        self._run(
            "controlplane", "kube-controller-manager",
            kubeconfig=admin, leader_elect="false", secure_port=0, use_service_account_credentials="false",
            service_account_private_key_file=key, root_ca_file=self.folder / "certificates" / "apiserver.crt",
            concurrent_deployment_syncs=10, concurrent_replicaset_syncs=10,
        )  # fmt: skip
        self._run("controlplane", "kube-scheduler", kubeconfig=admin, leader_elect="false", secure_port=0)
        (self.folder / "stages.yaml").write_text(self._stages)
        self._run(
            "kwok", kubeconfig=admin, manage_all_nodes="true", config=self.folder / "stages.yaml",
            node_lease_duration_seconds=40,
        )  # fmt: skip
        self.request("POST", "/api/v1/nodes", NODE)
        self._until(self._schedules, "the node is ready")

    def stop(self) -> None:
        """End everything."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGKILL)
            process.wait()

    def request(self, method: str, path: str, body: object = None, kind: str = "application/json") -> dict[str, Any]:
        """Ask the API server, as its administrator; `body` is sent as JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._admin}", "Content-Type": kind}
        request = urllib.request.Request(f"{self.server}{path}", data, headers, method=method)
        context = ssl.create_default_context(cadata=self.authority)
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return dict(json.loads(answer.read()))

    def _run(self, binary: str, *subcommand: str, **flags: object) -> None:
        name = subcommand[0] if subcommand else binary
        argv = [str(self._binaries / binary), *subcommand]
        argv += [f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items()]
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            )

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            for process in self._processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{process.args!r} ended: see the logs in {self.folder}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {READY_SECONDS} s: {what}; see the logs in {self.folder}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.request("GET", "/api/v1/namespaces/default"))
        return False

    def _schedules(self) -> bool:
        with contextlib.suppress(OSError):
            node = self.request("GET", "/api/v1/nodes/node-0")
            conditions = node["status"].get("conditions", [])
            tainted = node["spec"].get("taints")
            return not tainted and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        return False

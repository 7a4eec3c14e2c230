"""A gate, a builder and a deployer of another module, put into `ship` by a third one: on a Dagger Engine only."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The embedded engine runs a module alone, and none that depends on it.
pytestmark = [pytest.mark.e2e, pytest.mark.dagger]


class Platform(ThreadingHTTPServer):
    """A platform that takes deployments, and never serves them."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Platform

    def do_POST(self) -> None:
        self.server.calls.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = json.dumps({"url": "http://127.0.0.1:9"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def platform() -> Iterator[Platform]:
    server = Platform()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def extended(platform: Platform, repository: Path) -> subprocess.CompletedProcess[str]:
    """Call the consumer for a repository, with the platform as a service."""
    port = platform.server_port
    argv = ["dagger", "--progress=plain", "call", "--mod", str(ROOT / "examples" / "consumer"), "extended"]
    argv += ["--source", str(repository), "--path", "service", "--api", f"http://platform:{port}/"]
    return subprocess.run(
        [*argv, "--api-service", f"tcp://127.0.0.1:{port}"],
        check=False, capture_output=True, text=True, env=os.environ, stdin=subprocess.DEVNULL, timeout=1200,
    )  # fmt: skip


@pytest.fixture
def committed(repository: Path, commit_all: object) -> Path:
    """The small service's repository, committed."""
    assert callable(commit_all)
    commit_all(repository)
    return repository


def test_another_modules_gate_stops_the_shipment(platform: Platform, committed: Path):
    (committed / "service" / "src" / "left.js").write_text("// FIXME")
    done = extended(platform, committed)
    assert done.returncode != 0
    assert "gate 1: closed" in done.stderr + done.stdout
    assert "FIXME in src/left.js" in done.stderr + done.stdout
    assert platform.calls == []


def test_another_modules_builder_and_deployer_ship_and_a_failed_smoke_test_rolls_back(
    platform: Platform, committed: Path
):
    done = extended(platform, committed)
    assert done.returncode != 0
    output = done.stderr + done.stdout
    assert "gate 1 passed (no FIXME)" in output
    [deployed, rolled_back] = platform.calls
    assert deployed["action"] == "deploy"
    assert deployed["environment"] == "preview"
    assert deployed["reference"].startswith("localhost:5000/tiny@sha256:")
    assert rolled_back == {"action": "rollback", "reference": "", "environment": "preview"}
    assert "smoke-failed" in output

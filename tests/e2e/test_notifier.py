"""A notifier of another module, and the module that puts both together, against a real HTTP server."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.document import to_json
from pipeline.report.run import FAILED, Run, Stage

ROOT = Path(__file__).resolve().parents[2]
SECRET = "T0P/S3CRET"

pytestmark = pytest.mark.e2e


class Webhook(ThreadingHTTPServer):
    """A server that accepts messages, answers as configured, and keeps them."""

    def __init__(self, status: int, *, hangs: bool) -> None:
        self.status, self.hangs = status, hangs
        self.stopped = threading.Event()
        self.messages: list[tuple[str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def service(self) -> str:
        return f"tcp://127.0.0.1:{self.server_port}"

    @property
    def address(self) -> str:
        return f"http://webhook:{self.server_port}/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.messages.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        if self.server.hangs:
            self.server.stopped.wait(60)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Callable[..., Webhook]]:
    servers = []

    def start(status: int = 200, *, hangs: bool = False) -> Webhook:
        servers.append(Webhook(status, hangs=hangs))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.stopped.set()
        server.shutdown()


def call(address: str, command: list[str], folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *argv],
        cwd=folder,
        env=os.environ | {"WEBHOOK": address, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


# The example alone


@pytest.fixture
def notify(engine_name: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    command = ["dagger", "--progress=plain"] if engine_name == "dagger" else [sys.executable, "-m", "drydock"]
    report = to_json(Run("harbour", [Stage("check", FAILED)], error="lint: it is wrong"))

    def run(server: Webhook, address: str = "") -> subprocess.CompletedProcess[str]:
        options = ["--webhook", "env:WEBHOOK", "--webhook-service", server.service]
        chain = ["notify", "--event", "failed", "--report", report]
        return call(address or server.address, command, ROOT / "examples" / "notifier", "call", *options, *chain)

    return run


def test_the_webhook_gets_each_message(webhook: Callable[..., Webhook], notify: Callable[..., Any]):
    server = webhook()
    for _ in range(2):
        done = notify(server)
        assert done.returncode == 0, done.stderr
    assert [path for path, _ in server.messages] == [f"/{SECRET}"] * 2
    assert server.messages[0][1]["text"] == ":x: harbour failed in check"
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(("status", "hangs", "reason"), [(500, False, "it answers 500"), (200, True, "aborted")])
def test_a_webhook_that_refuses_the_message_is_reported_without_its_address(
    webhook: Callable[..., Webhook], notify: Callable[..., Any], status: int, reason: str, *, hangs: bool
):
    done = notify(webhook(status, hangs=hangs))
    assert done.returncode != 0
    assert "the webhook did not accept the message" in done.stderr
    assert reason in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("address", ["https://user:{}@webhook/x", "{}", "http://[{}"])
def test_a_malformed_address_is_reported_without_it(
    webhook: Callable[..., Webhook], notify: Callable[..., Any], address: str
):
    done = notify(webhook(), address.format("S3CRET"))
    assert done.returncode != 0
    assert "its address is malformed, or has a user in it" in done.stderr
    assert "S3CRET" not in done.stdout + done.stderr


# Both examples and Slipway together


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A clone of the project with a service that lacks a script, which `ship` notices before its first stage."""
    folder = tmp_path / "slipway"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    for name in ("pipeline", "examples"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    manifest = folder / "app" / "package.json"
    manifest.write_text(manifest.read_text().replace('"lint"', '"lynt"'))
    return folder


@pytest.mark.dagger
@pytest.mark.parametrize(
    ("status", "hangs", "reason"),
    [
        (200, False, "sent: failed"),
        (500, False, "warning: the notifier failed"),
        (200, True, "warning: the notifier "),
    ],
)
def test_a_failed_shipment_is_notified_and_fails_whatever_the_webhook_does(
    webhook: Callable[..., Webhook], broken: Path, status: int, reason: str, *, hangs: bool
):
    server = webhook(status, hangs=hangs)
    ship = ["call", "--mod", "examples/consumer", "ship", "--source", ".", "--webhook", "env:WEBHOOK"]
    done = call(server.address, ["dagger", "--progress=plain"], broken, *ship, "--webhook-service", server.service)
    assert done.returncode != 0
    assert "no script 'lint'" in done.stderr
    assert reason in done.stderr
    [(path, message)] = server.messages
    assert path == f"/{SECRET}"
    assert message["text"] == ":x: app failed"
    assert SECRET not in done.stdout + done.stderr

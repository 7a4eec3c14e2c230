"""The smoke test: how a service is asked, and what its answers mean. It is the same in a rehearsal and in a cluster."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import dagger
from dagger import dag

from pipeline.core.errors import InvalidInputError, SmokeFailedError
from pipeline.core.execution import with_run_id
from pipeline.core.log import log
from pipeline.core.programs import program

SMOKE_ATTEMPTS = 10
FOLDER = "/slipway"
SCRIPT, TEST = "smoke.mjs", "test.mjs"
RESULT = f"{FOLDER}/result.json"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
NO_RESULT_HINT = "the service's own test must return or throw, not exit"


@dataclasses.dataclass(frozen=True, slots=True)
class SmokeOptions:
    """How a deployed release is tested.

    Args:
        test: the service's own test, a JavaScript module; or empty.
        url: the service's address; empty for inside the cluster.
        url_service: a service of the engine that has the address's host as its name there; or None.
        attempts: how many attempts at most.
    """

    test: str = ""
    url: str = ""
    url_service: dagger.Service | None = None
    attempts: int = SMOKE_ATTEMPTS

    @property
    def services(self) -> dict[str, dagger.Service]:
        """The services of the engine that the test needs, by host name."""
        return {str(urlsplit(self.url).hostname): self.url_service} if self.url_service else {}


@dataclasses.dataclass(frozen=True, slots=True)
class SmokeTest:
    """The smoke test of one release.

    Args:
        reference: of the release, for messages.
        commit: that /version must answer.
        test: the service's own test, a JavaScript module; or empty.
        attempts: how many attempts at most.
    """

    reference: str
    commit: str
    test: str = ""
    attempts: int = SMOKE_ATTEMPTS

    @property
    def files(self) -> dict[str, str]:
        """The files that `argv` needs in FOLDER, by name."""
        return {SCRIPT: smoke_script()} | ({TEST: self.test} if self.test else {})

    def argv(self, result: str, url: str) -> list[str]:
        """Return the command that tests the service at an address, and writes the result to a file."""
        test = [f"{FOLDER}/{TEST}"] if self.test else []
        return ["node", f"{FOLDER}/{SCRIPT}", result, url, self.commit, str(self.attempts), *test]

    def judge(self, result: Mapping[str, Any]) -> int:
        """Log what was checked; return the number of attempts.

        Raises:
            SmokeFailedError: if the last attempt failed, or there is no result.
        """
        if not result:
            raise SmokeFailedError(f"{self.reference}: the test ended without a result", hint=NO_RESULT_HINT)
        if not result["passed"]:
            raise SmokeFailedError(
                f"{self.reference} failed {result['attempts']} of {self.attempts} attempts",
                output="\n".join(result["checks"]),
                hint="its answers are shown above; deploy it alone, and send it the same requests",
            )
        for check in result["checks"]:
            log("smoke", check)
        return int(result["attempts"])


def check_url(url: str, service: dagger.Service | None) -> str:
    """Return a service's address without a slash at its end; an empty one for none.

    Args:
        url: http(s)://host[:port][/path].
        service: a service of the engine that has the address's host as its name there; or None.

    Raises:
        InvalidInputError: if it is malformed, or its host is the test's own container.
    """
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise InvalidInputError(
            "--url is not the address of a service", hint="such as https://staging.example.com, without user or query"
        )
    if parts.hostname in LOOPBACK:
        raise InvalidInputError(
            f"--url {url}: where the test runs, {parts.hostname} is the test's own container",
            hint=f"--url {parts.scheme}://service:PORT --url-service tcp://127.0.0.1:PORT",
        )
    if service and not parts.port:
        raise InvalidInputError("--url has no port, which --url-service needs", hint="such as http://service:8080")
    return url.rstrip("/")


def smoke_script() -> str:
    """Return the program that tests a service."""
    return program("pipeline.deploy", SCRIPT)


async def ask_url(tool_image: str, smoke_test: SmokeTest, url: str, services: Mapping[str, dagger.Service]) -> int:
    """Test a service from a container of the engine; return the number of attempts. It always runs, never cached.

    Args:
        tool_image: with Node.
        smoke_test: the test.
        url: the service's address.
        services: of the engine, by the host name that the address has.

    Raises:
        SmokeFailedError: with the answers of the last attempt, or if the test ended without a result.
    """
    client = dag.container().from_(tool_image).with_(with_run_id)
    for name, content in smoke_test.files.items():
        client = client.with_new_file(f"{FOLDER}/{name}", content)
    for name, service in services.items():
        client = client.with_service_binding(name, service)
    try:
        result = json.loads(await client.with_exec(smoke_test.argv(RESULT, url)).file(RESULT).contents())
    except dagger.QueryError as error:
        raise SmokeFailedError(
            f"{smoke_test.reference}: the test ended without a result", output=str(error), hint=NO_RESULT_HINT
        ) from error
    return smoke_test.judge(result)

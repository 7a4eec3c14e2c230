"""The smoke test: how a service is asked, and what its answers mean. The same in a rehearsal and in a cluster."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import dagger
from dagger import dag

from pipeline.core.errors import InvalidInputError, SmokeFailedError
from pipeline.core.execution import run_id
from pipeline.core.log import log
from pipeline.core.programs import program

ATTEMPTS = 10
FOLDER = "/slipway"
SCRIPT, TEST = "smoke.mjs", "test.mjs"
RESULT = f"{FOLDER}/result.json"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
NO_RESULT = "the test ended without a result"


def check_url(url: str, service: dagger.Service | None) -> str:
    """Return a service's address, as the test gets it: without a slash at its end.

    Args:
        url: http(s)://host[:port][/path].
        service: of the engine, which has the address's host as its name there; or None.

    Raises:
        InvalidInputError: if it is of another form, or its host cannot be meant.
    """
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
    """Return the script."""
    return program("pipeline.deploy", SCRIPT)


def argv(result: str, base: str, commit: str, attempts: int, *, test: bool) -> list[str]:
    """Return the command that asks a service.

    Args:
        result: the file that the answer is written to.
        base: the service's address.
        commit: the commit that /version must answer.
        attempts: how often to try.
        test: whether the service's own test is there, too.
    """
    own = [f"{FOLDER}/{TEST}"] if test else []
    return ["node", f"{FOLDER}/{SCRIPT}", result, base, commit, str(attempts), *own]


async def ask(
    node_image: str,
    base: str,
    commit: str,
    attempts: int,
    *,
    test: str,
    release: str,
    what: str,
    services: Mapping[str, dagger.Service] | None = None,
) -> int:
    """Ask a service from a container of the engine; return how many attempts it took. It always runs.

    Args:
        node_image: the image with Node.
        base: the service's address.
        commit: the commit that /version must answer.
        attempts: how often to try.
        test: the service's own test, or empty.
        release: what is asked, for errors.
        what: what is being done, for errors.
        services: of the engine, by the name that the address has.

    Raises:
        SmokeFailedError: with what the last attempt was told, or if the test ended without a result.
    """
    client = dag.container().from_(node_image).with_new_file(f"{FOLDER}/{SCRIPT}", smoke_script())
    if test:
        client = client.with_new_file(f"{FOLDER}/{TEST}", test)
    for name, service in (services or {}).items():
        client = client.with_service_binding(name, service)
    client = client.with_env_variable("SLIPWAY_RUN", run_id())
    command = argv(RESULT, base, commit, attempts, test=bool(test))
    try:
        answer = json.loads(await client.with_exec(command).file(RESULT).contents())
    except dagger.QueryError as error:
        raise SmokeFailedError(
            f"{what}: {release}: {NO_RESULT}",
            output=str(error),
            hint="the service's own test must return or throw, not exit",
        ) from error
    hint = "what it answered stands above; deploy it alone and ask it the same"
    return judged(answer, release, attempts, what=what, hint=hint)


def judged(answer: Mapping[str, Any], release: str, attempts: int, *, what: str, hint: str) -> int:
    """Say what was checked; return how many attempts it took.

    Raises:
        SmokeFailedError: if the answer is that it failed.
    """
    if not answer["passed"]:
        raise SmokeFailedError(
            f"{what}: {release} failed {answer['attempts']} of {attempts} attempts",
            output="\n".join(answer["checks"]),
            hint=hint,
        )
    for check in answer["checks"]:
        log("smoke", check)
    return int(answer["attempts"])

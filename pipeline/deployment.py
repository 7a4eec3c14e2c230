"""A release in an environment."""

import datetime
import enum
import json
from typing import Annotated

import dagger
from dagger import Doc, dag, enum_type

from pipeline.console import say
from pipeline.errors import SmokeFailedError
from pipeline.execution import check_positive, run_id
from pipeline.images import Images
from pipeline.proof import Proof
from pipeline.schema import field, object_type, uncached
from pipeline.scripts import script
from pipeline.toolchain import PORT

ATTEMPTS = 10
RESULT = "/slipway/result.json"


@enum_type
class Environment(enum.Enum):
    """Where a release runs."""

    REHEARSAL = "rehearsal"
    """A throwaway environment inside the engine, gone when the run ends."""


@object_type
class Deployment:
    """A release that runs in an environment. Made only by `deploy`."""

    release: Annotated[str, Doc("host/path@sha256:… of what runs.")] = field()
    commit: Annotated[str, Doc("The commit it was built from.")] = field()
    environment: Annotated[Environment, Doc("Where it runs.")] = field()
    service: Annotated[dagger.Service, Doc("The running service.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()

    @uncached
    async def smoke(
        self,
        test: Annotated[
            dagger.File | None,
            Doc("A module whose default export gets the base URL and throws when a round trip fails."),
        ] = None,
        attempts: Annotated[int, Doc("How often to try before giving up.")] = ATTEMPTS,
    ) -> Proof:
        """Ask the deployed service: /healthz, /readyz, that /version is the commit just built, and one round trip.

        Pauses grow from half a second to eight. It always runs: never answered from cache.

        Errors: what the last attempt was told, once all are used up.
        """
        check_positive("attempts", attempts)
        began = datetime.datetime.now(datetime.UTC)
        client = (
            dag.container()
            .from_(self.images.node)
            .with_new_file("/slipway/smoke.mjs", script("smoke.mjs"))
            .with_service_binding("service", self.service)
        )
        argv = ["node", "/slipway/smoke.mjs", RESULT, f"http://service:{PORT}", self.commit, str(attempts)]
        if test:
            client = client.with_mounted_file("/slipway/test.mjs", test)
            argv.append("/slipway/test.mjs")
        client = client.with_env_variable("SLIPWAY_RUN", run_id())
        try:
            answer = json.loads(await client.with_exec(argv).file(RESULT).contents())
        except dagger.QueryError as error:
            raise SmokeFailedError(
                f"smoke: {self.release}: the test ended without a result",
                output=str(error),
                hint="the service's own test must return or throw, not exit",
            ) from error
        if not answer["passed"]:
            raise SmokeFailedError(
                f"smoke: {self.release} failed {answer['attempts']} of {attempts} attempts",
                output="\n".join(answer["checks"]),
                hint="what it answered stands above; deploy it alone and ask it the same",
            )
        for check in answer["checks"]:
            say("smoke", check)
        return Proof(
            release=self.release,
            commit=self.commit,
            environment=self.environment.value,
            at=began.isoformat(timespec="seconds"),
            attempts=answer["attempts"],
        )

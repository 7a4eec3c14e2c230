"""An environment of a service, such as staging: what runs there, what happened, and the way back."""

import json
from typing import Annotated

from dagger import Doc

from pipeline import history
from pipeline.deployment import MAX_AGE_HOURS, Proof
from pipeline.execution import run_id
from pipeline.place import LEASE_SECONDS, ROLLOUT_SECONDS, Place
from pipeline.schema import field, object_type, uncached


@object_type
class Environment:
    """An environment of the service in a cluster. `release … deploy --environment` deploys to it."""

    place: Annotated[Place, Doc("Cluster and namespace.")] = field()

    @uncached
    async def status(self) -> str:
        """What runs, whether it is proven, and how it differs from what was recorded. As JSON.

        Errors: a cluster that cannot be reached, credentials that it does not accept, a missing permission.
        """
        return json.dumps(await self.place.status(), indent=2)

    @uncached
    async def history(self) -> str:
        """What happened here, newest first: a table."""
        return history.table((await self.place.remembered()).entries)

    @uncached
    async def history_json(self) -> str:
        """What happened here, oldest first: JSON."""
        return history.to_document((await self.place.remembered()).entries)

    @uncached
    async def proof(
        self,
        digest: Annotated[str, Doc("sha256:… of the release. Default: what was deployed last.")] = "",
        max_age_hours: Annotated[int, Doc("How old the proof may be, in hours.")] = MAX_AGE_HOURS,
    ) -> Proof:
        """The recorded proof of a release, to be promoted.

        Errors: the proof is missing, failed, superseded by a failure, or too old.
        """
        entry = await self.place.proven(digest, max_age_hours)
        return Proof.of(self.place, entry, entry.attempts, entry.proven)

    @uncached
    async def rollback(
        self,
        digest: Annotated[
            str, Doc("sha256:… of a release that was proven here. Default: the last one that was, and is not live.")
        ] = "",
        link: Annotated[str, Doc("Address of the CI run, for the history.")] = "",
        seconds: Annotated[int, Doc("How long the rollout may take, in seconds.")] = ROLLOUT_SECONDS,
        wait: Annotated[int, Doc("How long another run may hold the environment, in seconds.")] = LEASE_SECONDS,
    ) -> Proof:
        """Bring back what was proven before what runs now, with the manifests of that time, and prove it again.

        Errors: nothing else was proven here; a rollout or smoke test that fails.
        """
        entry, attempts = await self.place.roll_back(run_id(), digest, link=link, seconds=seconds, wait=wait)
        return Proof.of(self.place, entry, attempts, history.now())

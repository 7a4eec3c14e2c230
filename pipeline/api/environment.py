"""An environment of a service, such as staging: what runs there, what happened, and the way back."""

import json
from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.api.arguments import Link, MaxAgeHours, Password, RegistryService, RolloutSeconds, Username, Wait
from pipeline.api.deployment import MAX_AGE_HOURS, Verification
from pipeline.api.release import Release
from pipeline.core.execution import check_positive, run_id
from pipeline.core.sdk import field, function, object_type, uncached
from pipeline.deploy.place import LEASE_SECONDS, ROLLOUT_SECONDS, EnvironmentTarget
from pipeline.observe import dora, history
from pipeline.observe.history import DeploymentRecord

HISTORY_LIMIT = 50
Limit = Annotated[int, Doc("How many runs at the most, the newest ones.")]


@object_type
class Dora:
    """The four DORA metrics of an environment, in a window. `docs/dora.md` tells how each is computed."""

    summary: Annotated[str, Doc("A table for the terminal.")] = field()
    markdown: Annotated[str, Doc("For people.")] = field()
    document: Annotated[str, Doc("For machines: JSON.")] = field()
    plot: Annotated[str, Doc("The changes over time: SVG.")] = field()

    @function
    def report(self) -> dagger.Directory:
        """dora.md, dora.json and dora.svg: `report export --path dora`."""
        return (
            dag.directory()
            .with_new_file("dora.md", self.markdown)
            .with_new_file("dora.json", self.document)
            .with_new_file("dora.svg", self.plot)
        )


@object_type
class Environment:
    """An environment of the service in a cluster. `release … deploy --environment` deploys to it."""

    place: Annotated[EnvironmentTarget, Doc("Cluster and namespace.")] = field()

    @uncached
    async def status(self) -> str:
        """What runs, whether it is proven, and how it differs from what was recorded. As JSON.

        Errors: a cluster that cannot be reached, credentials that it does not accept, a missing permission.
        """
        return json.dumps(await self.place.status(), indent=2)

    @uncached
    async def history(self, limit: Limit = HISTORY_LIMIT) -> str:
        """What happened here, newest first: a table."""
        return history.table(await self._entries(limit))

    @uncached
    async def history_json(self, limit: Limit = HISTORY_LIMIT) -> str:
        """What happened here, oldest first: JSON."""
        return history.to_document(await self._entries(limit))

    @uncached
    async def proof(
        self,
        digest: Annotated[str, Doc("sha256:… of the release. Default: what was deployed last.")] = "",
        max_age_hours: MaxAgeHours = MAX_AGE_HOURS,
        commit: Annotated[str, Doc("Full hash of the commit whose release it is, instead of the digest.")] = "",
    ) -> Verification:
        """The recorded proof of a release, to be promoted.

        Errors: the proof is missing, failed, superseded by a failure, or too old.
        """
        return Verification.of(self.place, await self.place.proven(digest, max_age_hours, commit))

    @uncached
    async def live(
        self, username: Username = "", password: Password = None, registry_service: RegistryService = None
    ) -> Release:
        """The release that runs here now, taken up from its registry: to be scanned again, or deployed elsewhere.

        Errors: nothing runs here that Slipway deployed; the registry does not have it.
        """
        return await Release.from_reference(
            await self.place.running(),
            username=username,
            password=password,
            registry_service=registry_service,
            images=self.place.images,
            trust=self.place.trust,
            name=self.place.service,
            delivery=self.place.delivery,
        )

    @uncached
    async def rollback(
        self,
        digest: Annotated[
            str, Doc("sha256:… of a release that was proven here. Default: the last one that was, and is not live.")
        ] = "",
        link: Link = "",
        seconds: RolloutSeconds = ROLLOUT_SECONDS,
        wait: Wait = LEASE_SECONDS,
    ) -> Verification:
        """Bring back what was proven before what runs now, with the manifests of that time, and prove it again.

        Errors: nothing else was proven here; a rollout or smoke test that fails.
        """
        check_positive("seconds", seconds)
        return Verification.of(
            self.place, await self.place.roll_back(run_id(), digest, link=link, seconds=seconds, wait=wait)
        )

    @uncached
    async def dora(
        self,
        since: Annotated[str, Doc("Date or time (RFC 3339). Default: 90 days before the end.")] = "",
        until: Annotated[str, Doc("Date or time (RFC 3339). Default: now.")] = "",
    ) -> Dora:
        """Deployment frequency, lead time for changes, change failure rate and time to restore, from the history.

        Errors: a window that is none.
        """
        window = dora.Window.parse(since, until, history.now())
        measured = dora.measure((await self.place.read_history()).entries, window)
        return Dora(
            summary=dora.table(self.place.name, measured),
            markdown=dora.to_markdown(self.place.name, measured),
            document=dora.to_document(self.place.name, measured),
            plot=dora.plot(self.place.name, measured),
        )

    async def _entries(self, limit: int) -> list[DeploymentRecord]:
        """Return the last runs, oldest first."""
        check_positive("limit", limit)
        return (await self.place.read_history()).entries[-limit:]

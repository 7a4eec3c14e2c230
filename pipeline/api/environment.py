"""An environment of a service, such as staging: what runs there, its history, and the way back."""

import json
from typing import Annotated

from dagger import Doc

from pipeline.api.arguments import Link, MaxAgeHours, RolloutSeconds, Wait
from pipeline.api.context import PipelineContext
from pipeline.api.deployment import Verification
from pipeline.api.dora import Dora
from pipeline.api.release import Release
from pipeline.core.execution import check_positive, run_id
from pipeline.core.sdk import field, object_type, uncached
from pipeline.deploy.context import LEASE_WAIT_SECONDS, ROLLOUT_SECONDS, DeployContext
from pipeline.deploy.kubernetes_deployer import RolloutOptions, context_of
from pipeline.deploy.promotion import MAX_AGE_HOURS, promotable
from pipeline.deploy.rollback import roll_back
from pipeline.deploy.status import read_history, running_reference, status
from pipeline.observe import dora, dora_report
from pipeline.observe.history_report import history_document, history_table
from pipeline.observe.records import DeploymentRecord
from pipeline.settings import Settings
from pipeline.source.commit import Commit
from pipeline.source.project import Project

HISTORY_LIMIT = 50
Limit = Annotated[int, Doc("How many runs at most, the newest ones.")]


@object_type
class Environment:
    """An environment of the service in a cluster. `release … deploy --environment` deploys to it."""

    name: Annotated[str, Doc("Such as staging.")] = field()
    context: Annotated[PipelineContext, Doc("The service and the settings.")] = field()

    @classmethod
    def of(cls, name: str, project: Project, settings: Settings) -> "Environment":
        """Return an environment of a service. Its runs name their commits themselves."""
        commit = Commit(sha="", path=project.path)
        return cls(name=name, context=PipelineContext(project=project, commit=commit, settings=settings))

    @uncached
    async def status(self) -> str:
        """What runs, whether it is verified, and how it differs from what was recorded. As JSON.

        Errors: a cluster that cannot be reached, credentials that it does not accept, a missing permission.
        """
        return json.dumps(await status(self._deploy_context()), indent=2)

    @uncached
    async def history(self, limit: Limit = HISTORY_LIMIT) -> str:
        """The runs in this environment, newest first: a table."""
        return history_table(await self._records(limit))

    @uncached
    async def history_json(self, limit: Limit = HISTORY_LIMIT) -> str:
        """The runs in this environment, oldest first: JSON."""
        return history_document(await self._records(limit))

    @uncached
    async def verification(
        self,
        digest: Annotated[str, Doc("sha256:… of the release. Default: what was deployed last.")] = "",
        max_age_hours: MaxAgeHours = MAX_AGE_HOURS,
        commit: Annotated[str, Doc("Full hash of the release's commit, instead of the digest.")] = "",
    ) -> Verification:
        """The recorded verification of a release, to be promoted.

        Errors: the verification is missing, failed, superseded by a failure, or too old.
        """
        context = self._deploy_context()
        record = await promotable(context, digest=digest, commit=commit, max_age_hours=max_age_hours)
        return Verification.of(self.name, record, self.context)

    @uncached
    async def live(self) -> Release:
        """The release that runs here now, read from its registry: to be scanned again, or deployed elsewhere.

        Errors: nothing runs here that Slipway deployed; the registry does not have it.
        """
        reference = await running_reference(self._deploy_context())
        return await Release.from_reference(reference, self.context.project, self.context.settings)

    @uncached
    async def rollback(
        self,
        digest: Annotated[
            str, Doc("sha256:… of a release that was verified here. Default: the last one before the running one.")
        ] = "",
        link: Link = "",
        seconds: RolloutSeconds = ROLLOUT_SECONDS,
        wait: Wait = LEASE_WAIT_SECONDS,
    ) -> Verification:
        """Restore the release that was verified before the running one, with its manifests, and verify it again.

        Errors: no other release was verified here; a rollout or smoke test that fails.
        """
        context = self._deploy_context(RolloutOptions(seconds=seconds, wait=wait))
        return Verification.of(self.name, await roll_back(context, run_id(), digest, link=link), self.context)

    @uncached
    async def dora(
        self,
        since: Annotated[str, Doc("Date or time (RFC 3339). Default: 90 days before the end.")] = "",
        until: Annotated[str, Doc("Date or time (RFC 3339). Default: now.")] = "",
    ) -> Dora:
        """Deployment frequency, lead time for changes, change failure rate and time to restore, from the history.

        Errors: a window that ends before it begins.
        """
        window = dora.Window.parse(since, until)
        metrics = dora.measure((await read_history(self._deploy_context())).deployments, window)
        return Dora(
            summary=dora_report.table(self.name, metrics),
            markdown=dora_report.to_markdown(self.name, metrics),
            document=dora_report.to_document(self.name, metrics),
            plot=dora_report.plot(self.name, metrics),
        )

    def _deploy_context(self, options: RolloutOptions | None = None) -> DeployContext:
        settings = self.context.settings
        return context_of(settings.environment(self.name), self.context.project.name, settings.images, options)

    async def _records(self, limit: int) -> list[DeploymentRecord]:
        """Return the last runs, oldest first."""
        check_positive("limit", limit)
        return (await read_history(self._deploy_context())).deployments[-limit:]

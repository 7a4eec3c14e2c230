"""Deploying a release to an environment in a cluster."""

import dataclasses
import json
from collections.abc import Sequence

from pipeline.core.errors import SlipwayError, error_context
from pipeline.core.log import log
from pipeline.deploy.context import DeployContext
from pipeline.deploy.jobs import remove_leftovers
from pipeline.deploy.migration import migrate
from pipeline.deploy.preflight import check_access
from pipeline.deploy.recovery import recover, watch_release
from pipeline.deploy.request import DeployRequest
from pipeline.kubernetes import manifests
from pipeline.kubernetes.manifests import Manifest
from pipeline.observe.events import EventType
from pipeline.observe.history import History
from pipeline.observe.records import DeploymentRecord, last_verified


async def roll_out(
    context: DeployContext,
    request: DeployRequest,
    objects: Sequence[Manifest],
    run: str,
    *,
    force_conflicts: bool = False,
) -> None:
    """Migrate, apply and wait until all pods run the release; if that fails, restore the last verified release.

    Args:
        context: the environment.
        request: the release.
        objects: the environment's checked manifests, as `load_manifests` returns them.
        run: identifies this run; unique.
        force_conflicts: take over fields that another manager owns, instead of failing.

    Raises:
        SlipwayError: with what failed, and the outcome of the rollback.
    """
    with error_context(f"deploy to {context.environment}"):
        prepared = request.prepare(objects, context.service, run)
        user = await check_access(context, prepared)
        manifests.annotate(prepared, {"by": user, "approved-by": request.approved_by})
        async with context.hold(run) as hold:
            past = await context.store.read()
            await remove_leftovers(context, past)
            rollout = _Rollout(context, request, prepared, run, force_conflicts=force_conflicts)
            existing = await rollout.rehearse(past)
            before = last_verified(past.deployments)
            details = dataclasses.asdict(request) | {
                "started_by": user,
                "replaced_digest": await context.live_digest(),
                "existing": existing,
            }
            attachments = {"manifests": json.dumps(prepared)}
            past = await context.record(past, run, EventType.STARTED, details, attachments)
            try:
                await rollout.perform()
                await _remove_former(context, past, before, prepared)
            except SlipwayError as error:
                await recover(context, hold, past, run, error)
            await context.record(past, run, EventType.DEPLOYED)


@dataclasses.dataclass(frozen=True, slots=True)
class _Rollout:
    """The rollout of a release, first rehearsed and then performed."""

    context: DeployContext
    request: DeployRequest
    objects: Sequence[Manifest]
    run: str
    force_conflicts: bool = dataclasses.field(kw_only=True)

    async def rehearse(self, past: History) -> list[str]:
        """Do a dry run of all that will be done; return the identities of the objects that exist already."""
        with error_context("dry run on the server"):
            await self.context.client.apply(self.objects, force=self.force_conflicts, dry_run=True)
        existing = await _existing(self.context, past, self.objects)
        if self.request.migrates:
            await migrate(self.context, self.objects, self.request, self.run, dry_run=True)
        return existing

    async def perform(self) -> None:
        """Migrate, apply, and wait until all pods run the release."""
        client = self.context.client
        if self.request.migrates:
            # A migration runs with the service's account and settings.
            with error_context("applying accounts and settings"):
                await client.apply(manifests.settings(self.objects), force=self.force_conflicts)
            await migrate(self.context, self.objects, self.request, self.run, dry_run=False)
        with error_context("applying the manifests"):
            await client.apply(self.objects, force=self.force_conflicts)
        watch = watch_release(self.context, self.objects, self.request.reference)
        await watch.wait_until_ready(self.context.timing.rollout_seconds)


async def _existing(context: DeployContext, past: History, objects: Sequence[Manifest]) -> list[str]:
    """Return the identities of objects that existed before; without leftovers of runs that never deployed."""
    live = await context.client.get(map(manifests.identity, objects))
    deployed = any(record.is_deployed for record in past.deployments)
    return sorted(manifests.identity(item) for item in live if deployed or not manifests.is_managed(item))


async def _remove_former(
    context: DeployContext, past: History, before: DeploymentRecord | None, objects: Sequence[Manifest]
) -> None:
    """Remove what the last verified run applied, or a later run created, and these manifests do not contain."""
    recorded = past.manifests(before.run) if before else []
    kept = set(map(manifests.identity, objects))
    applied = [name for name in map(manifests.identity, recorded) if name not in kept]
    if former := list(dict.fromkeys([*applied, *past.created_since(before, objects)])):
        log("deploy", f"removing what the manifests no longer contain: {', '.join(former)}")
        await context.client.delete(former)

"""What runs in an environment, and what a deployment would change. Nothing here changes anything."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from pipeline.core.errors import InvalidInputError, error_context
from pipeline.deploy.context import DeployContext
from pipeline.deploy.migration import migrate
from pipeline.deploy.preflight import check_access
from pipeline.deploy.request import DeployRequest
from pipeline.kubernetes import manifests
from pipeline.kubernetes.difference import difference
from pipeline.kubernetes.manifests import Manifest
from pipeline.observe.history import History


async def status(context: DeployContext) -> dict[str, Any]:
    """Return what runs, whether it is verified, and how it differs from what was recorded."""
    with error_context(f"status of {context.environment}"):
        await check_access(context)
        past = await context.store.read()
        live = await context.live_digest()
        runs = [r for r in past.deployments if live in (r.digest, r.rolled_back_to.partition("@")[2])] if live else []
        verified = next((r for r in reversed(runs) if r.digest == live and r.result == "verified"), None)
        source = verified or (runs[-1] if runs else None)
        recorded = past.manifests(source.run) if source else []
        return {
            "environment": context.environment,
            "namespace": context.client.namespace,
            "digest": live,
            "commit": source.commit if source else "",
            "verified_at": verified.verified_at if verified else "",
            "last": dataclasses.asdict(past.deployments[-1]) if past.deployments else None,
            "drift": (await _difference(context, recorded)).strip() if recorded else "",
            "known": bool(runs),
        }


async def preview(context: DeployContext, request: DeployRequest, objects: Sequence[Manifest], run: str) -> str:
    """Return what a deployment would change, and the output of the migration's dry run.

    Args:
        context: the environment.
        request: the release.
        objects: the environment's checked manifests, as `load_manifests` returns them.
        run: identifies this run; unique.

    Raises:
        SlipwayError: if the cluster would not accept the manifests, or the migration's dry run fails.
    """
    with error_context(f"plan for {context.environment}"):
        prepared = request.prepare(objects, context.service, run)
        await check_access(context, prepared)
        past = await context.store.read()
        last = past.deployments[-1] if past.deployments else None
        lines = [
            f"environment  {context.environment} (namespace {context.client.namespace} of {context.client.server})",
            f"release      {request.reference}",
            f"replaces     {await context.live_digest() or 'nothing'}",
            f"last run     {f'{last.action} of {last.digest}: {last.result}' if last else 'none'}",
            "",
            (await _difference(context, prepared)).strip() or "no object would change",
        ]
        if request.migrates:
            output = await migrate(context, prepared, request, run, dry_run=True)
            lines += ["", "migration, dry run:", output or "(no output)"]
        return "\n".join(lines)


async def running_reference(context: DeployContext) -> str:
    """Return the reference of the release that runs in the environment.

    Raises:
        InvalidInputError: if no release that Slipway deployed runs there.
    """
    with error_context(f"live release of {context.environment}"):
        live = await context.live_digest()
        records = (await context.store.read()).deployments
        reference = next((record.reference for record in reversed(records) if live and record.digest == live), "")
        if not reference:
            raise InvalidInputError("no release that Slipway deployed runs there", hint="look at `status`")
        return reference


async def last_run_failed(context: DeployContext) -> bool:
    """Whether the last run failed, or never ended."""
    records = (await read_history(context)).deployments
    return bool(records) and records[-1].result in {"failed", "running"}


async def read_history(context: DeployContext) -> History:
    """Return the history of the environment."""
    with error_context(context.environment):
        return await context.store.read()


async def _difference(context: DeployContext, objects: Sequence[Manifest]) -> str:
    """Return how the cluster would change if objects were applied, field by field."""
    live = {manifests.identity(item): item for item in await context.client.get(map(manifests.identity, objects))}
    applied = await context.client.apply(objects, force=True, dry_run=True)
    return difference(live, {manifests.identity(item): item for item in applied})

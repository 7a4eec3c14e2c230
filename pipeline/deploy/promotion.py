"""Promotion: which verification allows it, who approved it, and to which environment."""

import datetime

from pipeline.core.errors import InvalidInputError, error_context
from pipeline.core.execution import check_positive
from pipeline.deploy.context import DeployContext
from pipeline.deploy.request import DeployRequest
from pipeline.deploy.target import EnvironmentTarget
from pipeline.observe.records import DeploymentRecord, digest_of_commit, verification_of

MAX_AGE_HOURS = 168
APPROVER_LENGTH = 200


async def promotable(
    context: DeployContext, *, digest: str = "", commit: str = "", max_age_hours: int = MAX_AGE_HOURS
) -> DeploymentRecord:
    """Return the verified run that allows a release to be promoted.

    Args:
        context: the environment where it was verified.
        digest: sha256:… of the release; empty for the one that was deployed last.
        commit: the release's commit, instead of the digest.
        max_age_hours: how old the verification may be.

    Raises:
        NotPromotableError: if the verification is missing, failed, superseded by a failure, or too old.
        InvalidInputError: if both a digest and a commit are given.
    """
    check_positive("max-age-hours", max_age_hours)
    with error_context("promote"):
        if digest and commit:
            raise InvalidInputError("both a digest and a commit are given", hint="name one of them")
        records = (await context.store.read()).deployments
        digest = digest_of_commit(records, context.environment, commit) if commit else digest
        age = datetime.timedelta(hours=max_age_hours)
        return verification_of(records, context.environment, digest, max_age=age)


def check_approver(name: str) -> str:
    """Return the approver, without the white space around it.

    Raises:
        InvalidInputError: if it is empty, longer than 200 characters, or more than one line.
    """
    approver = name.strip()
    if not approver or not approver.isprintable() or len(approver) > APPROVER_LENGTH:
        raise InvalidInputError(
            "promote: no approver is named", hint="--approved-by NAME, in one line: who answers for this promotion"
        )
    return approver


def check_next(source: EnvironmentTarget, target: EnvironmentTarget, service: str) -> None:
    """Refuse a promotion from an environment to itself, or into the namespace of the same one.

    Raises:
        InvalidInputError: if so.
    """
    if source.name == target.name and source.cluster.server == target.cluster.server:
        raise InvalidInputError(f"promote: from {source.name} to {target.name}", hint="name the next environment")
    namespace = target.namespace_of(service)
    if source.cluster.server == target.cluster.server and source.namespace_of(service) == namespace:
        raise InvalidInputError(
            f"promote: {source.name} and {target.name} share namespace {namespace}",
            hint=f"`with-environment --name {target.name} --namespace …`",
        )


def promotion_of(record: DeploymentRecord, *, approved_by: str, link: str) -> DeployRequest:
    """Return the request that promotes a verified release."""
    return DeployRequest(
        reference=record.reference,
        commit=record.commit,
        committed_at=record.committed_at,
        migrates=record.migrates,
        action="promote",
        approved_by=approved_by,
        link=link,
    )

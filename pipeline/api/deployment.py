"""A release in an environment, and the verification that it works there."""

from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.api.arguments import ForceConflicts, Link, MaxAgeHours, RolloutSeconds, SmokeTest, Wait
from pipeline.api.context import PipelineContext
from pipeline.core import clock
from pipeline.core.errors import NotPromotableError
from pipeline.core.execution import check_positive
from pipeline.core.interfaces import Deployer
from pipeline.core.sdk import field, function, object_type, uncached
from pipeline.deploy import smoke
from pipeline.deploy.context import LEASE_WAIT_SECONDS, ROLLOUT_SECONDS, STABLE_SECONDS
from pipeline.deploy.elsewhere import smoke_directly
from pipeline.deploy.environments import REHEARSAL
from pipeline.deploy.kubernetes_deployer import KubernetesDeployer, RolloutOptions, context_of
from pipeline.deploy.promotion import MAX_AGE_HOURS, check_approver, check_next, promotable, promotion_of
from pipeline.deploy.smoke import SmokeOptions
from pipeline.deploy.verification import verify
from pipeline.observe.records import DeploymentRecord
from pipeline.oci.references import DigestReference
from pipeline.report.document import to_json
from pipeline.report.markdown import to_markdown
from pipeline.report.run import PASSED, Run, Stage
from pipeline.source.commit import Commit
from pipeline.source.project import Project


@object_type
class Deployment:
    """A release that runs in an environment. Made only by `deploy` and `promote`."""

    reference: Annotated[str, Doc("host/path@sha256:… of the release.")] = field()
    environment: Annotated[str, Doc("Where it runs.")] = field()
    url: Annotated[str, Doc("URL at which it is reached; empty for inside the cluster.")] = field()
    service: Annotated[dagger.Service | None, Doc("The running service, in a rehearsal.")] = field()
    run: Annotated[str, Doc("The run that deployed it to a cluster, or empty.")] = field()
    unsigned: Annotated[str, Doc("Why it was deployed without a signature, or empty.")] = field()
    deployer: Annotated[Deployer | None, Doc("The deployer of another module that deployed it.")] = field()
    context: Annotated[PipelineContext, Doc("The service, its commit, the settings.")] = field()

    @uncached
    async def smoke(
        self,
        test: SmokeTest = None,
        attempts: Annotated[int, Doc("How often to try before giving up.")] = smoke.SMOKE_ATTEMPTS,
        stable_seconds: Annotated[
            int, Doc("In a cluster: how long the pods must stay ready afterwards, in seconds.")
        ] = STABLE_SECONDS,
        seconds: RolloutSeconds = ROLLOUT_SECONDS,
    ) -> "Verification":
        """Smoke-test the deployment: /healthz, /readyz, that /version is the commit just built, and one round trip.

        Pauses grow from half a second to eight. It always runs: never answered from cache. In a cluster it runs in a
        Job, which reaches the pods through the Service, or against the environment's URL; the verification is
        recorded there. If it fails, the release that was verified before is restored, within `seconds`.

        Errors: the answers of the last attempt; pods that did not stay ready.
        """
        check_positive("attempts", attempts)
        project, settings = self.context.project, self.context.settings
        file = test or await project.smoke_test()
        text = await file.contents() if file else ""
        if self.run:
            target = settings.environment(self.environment)
            options = RolloutOptions(seconds=seconds, stable_seconds=stable_seconds)
            context = context_of(target, project.name, settings.images, options)
            smoke_options = SmokeOptions(test=text, url=target.url, url_service=target.url_service, attempts=attempts)
            record = await verify(context, self.run, smoke_options)
            return Verification.of(self.environment, record, self.context)
        smoke_test = smoke.SmokeTest(self.reference, self.context.commit.sha, test=text, attempts=attempts)
        tries = await smoke_directly(
            settings.images.tool,
            smoke_test,
            self.url,
            self.environment,
            service=self.service,
            deployer=self.deployer,
        )
        return Verification(
            reference=self.reference,
            environment=self.environment,
            verified_at=clock.timestamp(),
            attempts=tries,
            link="",
            context=self.context,
        )


@object_type
class Verification:
    """A deployment that passed its smoke test. Made by `smoke`, or read from the environment's history."""

    reference: Annotated[str, Doc("host/path@sha256:… of the release.")] = field()
    environment: Annotated[str, Doc("Where it was verified.")] = field()
    verified_at: Annotated[str, Doc("When, RFC 3339.")] = field()
    attempts: Annotated[int, Doc("How many attempts the smoke test took.")] = field()
    link: Annotated[str, Doc("Address of the CI run, or empty.")] = field()
    context: Annotated[PipelineContext, Doc("The service, its commit, the settings.")] = field()

    @classmethod
    def of(cls, environment: str, record: DeploymentRecord, context: PipelineContext) -> "Verification":
        """Return the verification that a run in a cluster recorded."""
        return cls(
            reference=record.reference,
            environment=environment,
            verified_at=record.verified_at,
            attempts=record.attempts,
            link=record.link,
            context=context.at(commit_of(record, context.project)),
        )

    @function
    def report(self) -> dagger.Directory:
        """report.md and report.json, of the form that `ship report` has for a whole run."""
        in_cluster = self.environment != REHEARSAL
        run = Run(
            name=self.context.project.name,
            stages=[Stage("smoke", PASSED, detail=f"attempt {self.attempts}, at {self.verified_at}")],
            commit=self.context.commit.sha,
            rehearsal=not in_cluster,
            environment=self.environment if in_cluster else "",
            reference=self.reference,
        )
        return dag.directory().with_new_file("report.md", to_markdown(run)).with_new_file("report.json", to_json(run))

    @uncached
    async def promote(
        self,
        to: Annotated[str, Doc("Where to, such as production: see `with-environment`.")],
        approved_by: Annotated[str, Doc("Who approved it: a person's name or address, for the history.")],
        max_age_hours: MaxAgeHours = MAX_AGE_HOURS,
        seconds: RolloutSeconds = ROLLOUT_SECONDS,
        wait: Wait = LEASE_WAIT_SECONDS,
        force_conflicts: ForceConflicts = False,
        link: Link = "",
    ) -> Deployment:
        """Deploy to the next environment the very digest that was verified here; nothing is built.

        The verification is read again: it must be the last event of that digest. Signature, provenance and SBOM are
        verified in the registry, with the credentials of `with-registry`.

        Errors: no approver; no signature, or another signer's; a verification that is missing, failed, superseded or
        too old; the errors of `deploy`.
        """
        project, settings = self.context.project, self.context.settings
        approver = check_approver(approved_by)
        if self.environment == REHEARSAL:
            raise NotPromotableError(
                "promote: a rehearsal verifies nothing about an environment", hint="deploy to staging first"
            )
        source, target = settings.environment(self.environment), settings.environment(to)
        check_next(source, target, project.name)
        staging = context_of(source, project.name, settings.images)
        digest = self.reference.partition("@")[2]
        record = await promotable(staging, digest=digest, max_age_hours=max_age_hours)
        deployer = KubernetesDeployer(
            target=target,
            project=project,
            images=settings.images,
            registry=settings.registry_of(DigestReference.parse(record.reference).repository),
            policy=settings.verification,
            request=promotion_of(record, approved_by=approver, link=link),
            options=RolloutOptions(seconds=seconds, wait=wait, force_conflicts=force_conflicts),
        )
        url = await deployer.deploy(record.reference, to)
        return Deployment(
            reference=record.reference,
            environment=to,
            url=url,
            service=None,
            run=deployer.run,
            unsigned=deployer.unsigned,
            deployer=None,
            context=self.context.at(commit_of(record, project)),
        )


def commit_of(record: DeploymentRecord, project: Project) -> Commit:
    """Return the commit of a recorded release."""
    return Commit(sha=record.commit, created=record.committed_at, path=project.path)

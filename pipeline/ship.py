"""The whole chain: one preflight that connects, reads and resolves, then the stages in order."""

import dataclasses
from collections.abc import Mapping, Sequence

from dagger import dag

from pipeline.api.checked_source import CheckedSource
from pipeline.api.context import PipelineContext
from pipeline.api.shipment import Shipment
from pipeline.build.build import check_platforms, check_runnable
from pipeline.build.node import NodeBuilder
from pipeline.check import pins
from pipeline.check.find_pins import find_pins
from pipeline.check.gates import Gates
from pipeline.core.errors import InvalidInputError, StageStoppedError
from pipeline.core.interfaces import Builder, Deployer, Gate
from pipeline.deploy.environments import REHEARSAL, check_deployable
from pipeline.deploy.kubernetes_deployer import RolloutOptions, context_of, manifests_of
from pipeline.deploy.preflight import preflight as check_cluster
from pipeline.deploy.status import last_run_failed
from pipeline.deploy.target import EnvironmentTarget
from pipeline.kubernetes.manifests import Manifest
from pipeline.oci.references import check_tag
from pipeline.report.recorder import StageRecorder
from pipeline.report.run import UNAVAILABLE, Run
from pipeline.report.verdict import Status
from pipeline.scan.scan import ScanResult
from pipeline.settings import Settings
from pipeline.signing.keys import PUBLIC_KEY
from pipeline.signing.policy import check_policy, check_signable, check_signing
from pipeline.source.commit import Commit, check_releasable
from pipeline.source.project import SCRIPTS, Project
from pipeline.source.source import Source


@dataclasses.dataclass(frozen=True, slots=True)
class ShipOptions:
    """The options of one run, beside the settings.

    Args:
        environment: where to deploy; empty for the default.
        tag: for people; empty for twelve digits of the commit.
        platforms: to build for; none for the engine's own.
        frozen: refuse what is not pinned.
        link: address of the CI run, or empty.
        gates: of other modules.
        builder: of another module, or None.
        deployer: of another module, or None.
    """

    environment: str = ""
    tag: str = ""
    platforms: list[str] | None = None
    frozen: bool = False
    link: str = ""
    gates: Sequence[Gate] = ()
    builder: Builder | None = None
    deployer: Deployer | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Preflight:
    """What was read and resolved before the first stage.

    Args:
        project: the service.
        commit: the commit of the source.
        settings: with the verification policy resolved.
        target: where to deploy; None for a rehearsal.
        manifests: the target's, rendered and checked, by environment.
        last_run_failed: whether the target's last run failed, or never ended.
    """

    project: Project
    commit: Commit
    settings: Settings
    target: EnvironmentTarget | None = None
    manifests: Mapping[str, Sequence[Manifest]] = dataclasses.field(default_factory=dict)
    last_run_failed: bool = False


async def resolve(source: Source, settings: Settings, url: str = "") -> Settings:
    """Return the settings with the verification policy completed from the source.

    Args:
        source: its cosign.pub is the public key, and its remote the repository, where the policy names none.
        settings: as configured.
        url: the repository's address, where it is known already.

    Raises:
        InvalidInputError: if the policy is malformed, or a signer is configured that could not sign.
    """
    policy = settings.verification
    if not policy.public_key and not policy.certificate_identity:
        policy = dataclasses.replace(policy, public_key=await source.nearest_file(PUBLIC_KEY))
    repository = policy.repository or url or await source.origin()
    policy = dataclasses.replace(check_policy(policy), repository=repository, path=source.path)
    if settings.signer:
        check_signing(settings.signer, policy)
    return dataclasses.replace(settings, verification=policy)


async def run_check(source: Source, settings: Settings, gates: Sequence[Gate]) -> CheckedSource:
    """Run the gates of a source; this is the stage `check` where it is called alone."""
    commit = await source.commit()
    project = await source.project(SCRIPTS)
    return await _checked(source, Preflight(project, commit, await resolve(source, settings, commit.url)), gates)


async def run_ship(source: Source, settings: Settings, options: ShipOptions) -> Shipment:
    """Run the whole chain; a failed run is a Shipment too, with its report."""
    check_platforms(options.platforms)
    if options.tag:
        check_tag(options.tag)
    recorder = StageRecorder()
    run = Run(
        name=source.path,
        stages=list(recorder.stages.values()),
        rehearsal=settings.rehearsal,
        environment=options.environment,
        skipped=[gate.value for gate in settings.skip],
        link=options.link,
    )
    scan_reports = dag.directory()
    try:
        preflight = await recorder.preflight(prepare(source, settings, options))
        run.environment = preflight.target.name if preflight.target else options.environment
        run.after_failure = preflight.last_run_failed
        checked = await recorder.stage("check", _checked(source, preflight, options.gates))
        commit = preflight.commit
        run.name, run.commit, run.dirty = preflight.project.name, commit.sha, commit.dirty
        built = await recorder.stage("build", checked.build(options.platforms, options.builder))
        run.base_image = built.base_image
        scanned = await recorder.stage("scan", built.scan(rehearsal=settings.rehearsal))
        run.verdict, scan_reports = scanned.verdict, scanned.reports
        if scanned.verdict.status == Status.UNAVAILABLE:
            stage = recorder.stages["scan"]
            stage.result, stage.detail = UNAVAILABLE, scanned.verdict.reason
        release = await recorder.stage("publish", scanned.publish(options.tag))
        run.reference = release.reference
        deploying = release.roll_out(
            run.environment or REHEARSAL,
            RolloutOptions(link=options.link),
            manifests=preflight.manifests.get(run.environment),
            deployer=options.deployer,
        )
        deployment = await recorder.stage("deploy", deploying)
        run.unsigned = deployment.unsigned
        verification = await recorder.stage("smoke", deployment.smoke())
        recorder.stages["smoke"].detail = f"attempt {verification.attempts}"
    except StageStoppedError:
        run.error = recorder.error
        result = getattr(recorder.cause, "result", None)
        if isinstance(result, ScanResult):
            run.verdict, scan_reports = result.verdict, result.reports
    return Shipment.of(run, scan_reports)


async def prepare(source: Source, settings: Settings, options: ShipOptions) -> Preflight:
    """Read and resolve everything that the stages need, and refuse, before anything expensive, what cannot succeed.

    Raises:
        SlipwayError: with the first thing that is wrong.
    """
    target = None if options.deployer else settings.ship_target(options.environment)
    if target:
        check_deployable(target.name)
        if settings.registry is None:
            raise InvalidInputError("ship: a cluster needs a registry to pull from", hint="`with-registry --address …`")
    project = await source.project(SCRIPTS)
    commit = await source.commit()
    if settings.registry:
        check_releasable(commit)
    settings = await resolve(source, settings, commit.url)
    if options.frozen:
        pins.check_frozen(await find_pins(source.root, source.path, project.name, settings.images))
    await check_runnable(NodeBuilder(settings.images), options.platforms)
    if target is None:
        return Preflight(project, commit, settings)
    check_signable(settings.signer, settings.verification)
    manifests = await manifests_of(target, project, settings.images)
    context = context_of(target, project.name, settings.images)
    await check_cluster(context, manifests)
    return Preflight(
        project, commit, settings, target, {target.name: manifests}, last_run_failed=await last_run_failed(context)
    )


async def _checked(source: Source, preflight: Preflight, gates: Sequence[Gate]) -> CheckedSource:
    """Run the gates."""
    settings, project = preflight.settings, preflight.project
    # Manifests that the environment brings are not the service's own, which the gate judges.
    own = {} if preflight.target and preflight.target.manifests else preflight.manifests
    await Gates(source, settings.images, settings.npmrc, project, own).all(settings.skip, gates)
    return CheckedSource(context=PipelineContext(project=project, commit=preflight.commit, settings=settings))

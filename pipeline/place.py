"""A place to deploy to: a namespace in which one service is rolled out, proven, brought back and remembered."""

import dataclasses
import datetime
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, NoReturn

import anyio
import dagger
from dagger import Doc

from pipeline import history, lease, manifests, rollout, smoke
from pipeline.cluster import FIELD_MANAGER, Cluster, check_environment
from pipeline.console import say
from pipeline.delivery import render
from pipeline.errors import (
    BusyError,
    ClusterError,
    InvalidInputError,
    NotReadyError,
    RolloutError,
    SlipwayError,
    SmokeFailedError,
    StageFailedError,
)
from pipeline.execution import check_positive
from pipeline.history import Entry, Event, History, Record
from pipeline.images import Images
from pipeline.manifests import Manifest
from pipeline.references import Pinned, check_name
from pipeline.schema import field, object_type

ROLLOUT_SECONDS = 300
MIGRATION_SECONDS = 600
LEASE_SECONDS = 600
STABLE_SECONDS = 15
SMOKE_SECONDS = 300
POLL_SECONDS = 2
PODLESS_SECONDS = 10
LOG_LINES = 20
MIGRATION = ("node", "dist/migrate.js")
TERMINATION_LOG = "/dev/termination-log"
# What Slipway itself does in a namespace, beside the kinds that are deployed.
NEEDED = (
    ("get", "apps", "deployments"),
    ("list", "apps", "replicasets"),
    ("list", "", "pods"),
    ("get", "", "pods/log"),
    ("list", "", "events"),
    ("create", "batch", "jobs"),
    ("get", "batch", "jobs"),
    ("delete", "batch", "jobs"),
    ("list", "", "configmaps"),
    ("create", "", "configmaps"),
    ("delete", "", "configmaps"),
    ("get", "coordination.k8s.io", "leases"),
    ("create", "coordination.k8s.io", "leases"),
    ("update", "coordination.k8s.io", "leases"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """What is deployed, and how that came about.

    Args:
        committed: time of the commit, RFC 3339, or empty.
        migrates: whether the image has migrations.
        link: address of the CI run, or empty.
    """

    reference: str
    commit: str
    committed: str
    migrates: bool
    action: str
    approved_by: str = ""
    link: str = ""

    @property
    def pinned(self) -> Pinned:
        """The reference, read."""
        return Pinned.parse(self.reference)


@object_type
class Place:
    """A namespace of a cluster in which one service is deployed."""

    name: Annotated[str, Doc("Such as staging.")] = field()
    service: Annotated[str, Doc("Name of the service: also that of the image in the manifests.")] = field()
    cluster: Annotated[Cluster, Doc("The cluster and namespace.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()
    delivery: Annotated[dagger.Directory, Doc("The service's own manifests (deploy/) and smoke test.")] = field()

    @classmethod
    async def connect(
        cls,
        name: str,
        service: str,
        kubeconfig: dagger.Secret | None,
        *,
        context: str,
        namespace: str,
        api_server: dagger.Service | None,
        images: Images,
        delivery: dagger.Directory,
    ) -> "Place":
        """Take up an environment of a service in a cluster.

        Raises:
            InvalidInputError: without a kubeconfig, or if that or a name is not of the accepted form.
        """
        check_environment(name)
        if kubeconfig is None:
            raise InvalidInputError(
                f"environment {name} needs a cluster",
                hint="give --kubeconfig env:KUBECONFIG, or file:$HOME/.kube/config",
            )
        cluster = await Cluster.connect(
            kubeconfig,
            context=context,
            namespace=namespace,
            default_namespace=f"{service}-{name}",
            api_server=api_server,
            kubectl_image=images.kubectl,
        )
        return cls(name=name, service=service, cluster=cluster, images=images, delivery=delivery)

    async def beside(
        self,
        name: str,
        kubeconfig: dagger.Secret | None,
        *,
        context: str,
        namespace: str,
        api_server: dagger.Service | None,
    ) -> "Place":
        """Return another environment of the same service, in the same cluster if no other is given."""
        if kubeconfig:
            return await Place.connect(
                name,
                self.service,
                kubeconfig,
                context=context,
                namespace=namespace,
                api_server=api_server,
                images=self.images,
                delivery=self.delivery,
            )
        check_environment(name)
        cluster = dataclasses.replace(
            self.cluster, namespace=check_name("namespace", namespace or f"{self.service}-{name}")
        )
        if cluster.namespace == self.cluster.namespace:
            raise InvalidInputError(
                f"{name} and {self.name} share namespace {cluster.namespace}", hint="give --namespace"
            )
        return dataclasses.replace(self, name=name, cluster=cluster)

    # What a run does

    async def roll_out(
        self,
        subject: Subject,
        folder: dagger.Directory,
        run: str,
        *,
        seconds: int = ROLLOUT_SECONDS,
        wait: int = LEASE_SECONDS,
        force_conflicts: bool = False,
    ) -> None:
        """Migrate, apply and wait until all pods are of the release; if that fails, bring back what was proven.

        Raises:
            SlipwayError: with what failed, and how bringing back went.
        """
        what = f"deploy to {self.name}"
        objects = self._prepared(await render(self.cluster.kubectl_image, folder, self.name), subject, run)
        deployment = manifests.deployment_of_release(objects, subject.pinned)
        needed = [(verb, *manifests.resource_of(m)) for m in objects for verb in ("get", "create", "patch", "delete")]
        user = await self.cluster.check([*NEEDED, *dict.fromkeys(needed)], what=what)
        async with self._alone(run, what, wait):
            past = await self.remembered()
            self._tell_of_killed(past)
            await self._remove_leftovers(what)
            await self._apply(objects, what=f"{what}: dry run on the server", force=force_conflicts, dry_run=True)
            existing = await self._existing(objects, what)
            if subject.migrates:
                await self._migrate(deployment, subject, run, dry_run=True)
            before = history.last_proven(past.entries)
            begun = {
                "action": subject.action,
                "reference": subject.reference,
                "commit": subject.commit,
                "committed": subject.committed,
                "migrates": subject.migrates,
                "by": user,
                "approved_by": subject.approved_by,
                "link": subject.link,
                "replaced": before.reference if before else "",
                "existed": sorted(existing),
            }
            await self._record(past, Record(run, Event.BEGUN, history.now(), begun), {"manifests": json.dumps(objects)})
            try:
                if subject.migrates:
                    # The account and settings that the migration runs with come first.
                    await self._apply(manifests.settings(objects), what=f"{what}: settings", force=force_conflicts)
                    await self._migrate(deployment, subject, run, dry_run=False)
                await self._apply(objects, what=f"{what}: applying the manifests", force=force_conflicts)
                await self.wait(deployment, what=what, seconds=seconds)
                await self._remove_former(past, before, objects, what)
            except SlipwayError as error:
                await self._fail(run, error, seconds=seconds)
            await self._note(Record(run, Event.DEPLOYED, history.now()))

    async def prove(
        self,
        run: str,
        *,
        test: str = "",
        attempts: int = smoke.ATTEMPTS,
        stable_seconds: int = STABLE_SECONDS,
        seconds: int = ROLLOUT_SECONDS,
        wait: int = LEASE_SECONDS,
    ) -> tuple[Entry, int]:
        """Smoke-test what a run deployed, watch it for a while, and record the proof; if that fails, bring back.

        Returns the run, and how many attempts the test took.

        Raises:
            SlipwayError: with what failed, and how bringing back went.
        """
        what = f"smoke in {self.name}"
        async with self._alone(run, what, wait):
            past = await self.remembered()
            entry = next((entry for entry in past.entries if entry.run == run), None)
            if entry is None or past.entries[-1].run != run:
                other = past.entries[-1].run if past.entries else "nothing"
                raise BusyError(
                    f"{what}: another run ({other}) deployed after this one, so there is nothing to prove",
                    hint="look at `history`, then deploy again",
                )
            objects: list[Manifest] = json.loads(past.kept(run, "manifests"))
            try:
                made = await self._smoke(objects, entry, run, test, attempts)
                await self._stays(objects, entry, stable_seconds)
            except SlipwayError as error:
                await self._fail(run, error, seconds=seconds)
            await self._note(
                Record(run, Event.PROVEN, history.now(), {"attempts": made}), {"test": test} if test else {}
            )
            return entry, made

    async def roll_back(self, run: str, digest: str, *, link: str, seconds: int, wait: int) -> tuple[Entry, int]:
        """Bring back what was proven before what runs now, with the manifests of that time, and prove it again.

        Returns the run that proved it first, and how many attempts the test took.

        Raises:
            SlipwayError: if there is none, or it fails.
        """
        what = f"rollback of {self.name}"
        user = await self.cluster.check(NEEDED, what=what)
        async with self._alone(run, what, wait):
            past = await self.remembered()
            entries = past.entries
            live = await self._live(what)
            candidates = [entry for entry in entries if entry.result == "proven" and past.kept(entry.run, "manifests")]
            wanted = [e for e in candidates if (e.digest == digest if digest else e.digest != live)]
            if not wanted:
                known = ", ".join(dict.fromkeys(e.digest for e in candidates)) or "none"
                raise InvalidInputError(
                    f"{what}: {digest or 'no other release'} was proven here",
                    hint=f"proven and remembered: {known}",
                )
            target = wanted[-1]
            objects = past.kept(target.run, "manifests")
            begun = {
                "action": "rollback",
                "reference": target.reference,
                "commit": target.commit,
                "committed": target.committed,
                "migrates": target.migrates,
                "by": user,
                "link": link,
                "replaced": live,
            }
            await self._record(past, Record(run, Event.BEGUN, history.now(), begun), {"manifests": objects})
            try:
                attempts = await self._bring_back(past, target, run, seconds=seconds)
            except SlipwayError as error:
                await self._note(Record(run, Event.FAILED, history.now(), {"problem": error.problem}))
                raise
            test = past.kept(target.run, "test")
            await self._note(
                Record(run, Event.PROVEN, history.now(), {"attempts": attempts}), {"test": test} if test else {}
            )
            return target, attempts

    async def foresee(self, subject: Subject, folder: dagger.Directory, run: str) -> str:
        """Return what a deployment would change, and what the migration says of itself. Nothing is changed."""
        what = f"plan for {self.name}"
        objects = self._prepared(await render(self.cluster.kubectl_image, folder, self.name), subject, run)
        deployment = manifests.deployment_of_release(objects, subject.pinned)
        await self.cluster.check(NEEDED, what=what)
        past = await self.remembered()
        live = await self._live(what)
        last = past.entries[-1] if past.entries else None
        lines = [
            f"environment  {self.name} (namespace {self.cluster.namespace} of {self.cluster.server})",
            f"release      {subject.reference}",
            f"replaces     {live or 'nothing'}",
            f"last run     {f'{last.action} of {last.digest}: {last.result}' if last else 'none'}",
            "",
            (await self._diff(objects, what)).strip() or "no object would change",
        ]
        if subject.migrates:
            said = await self._migrate(deployment, subject, run, dry_run=True)
            lines += ["", "migration, dry run:", said.strip() or "it says nothing"]
        return "\n".join(lines)

    async def status(self) -> dict[str, Any]:
        """Return what runs, whether it is proven, and how it differs from what was recorded."""
        what = f"status of {self.name}"
        await self.cluster.check(NEEDED, what=what)
        past = await self.remembered()
        last = past.entries[-1] if past.entries else None
        live = await self._live(what)
        proof = (
            next((e for e in reversed(past.entries) if e.digest == live and e.result == "proven"), None)
            if live
            else None
        )
        of_it = [e for e in past.entries if live in (e.digest, e.restored.partition("@")[2])] if live else []
        drift = ""
        if of_it and (recorded := past.kept((proof or of_it[-1]).run, "manifests")):
            drift = (await self._diff(json.loads(recorded), what)).strip()
        return {
            "environment": self.name,
            "namespace": self.cluster.namespace,
            "digest": live,
            "commit": of_it[-1].commit if of_it else "",
            "proven": proof.proven if proof else "",
            "last": dataclasses.asdict(last) if last else None,
            "drift": drift,
            "known": bool(of_it),
        }

    async def proven(self, digest: str, max_age_hours: int) -> Entry:
        """Return the run that proves a digest fit to be promoted, or the last one deployed."""
        check_positive("max-age-hours", max_age_hours)
        entries = (await self.remembered()).entries
        age = datetime.timedelta(hours=max_age_hours)
        return history.proof_of(entries, self.name, digest, max_age=age, at=history.now())

    async def remembered(self) -> History:
        """Read what the namespace remembers."""
        selector = f"--selector={history.LABEL}={self.service}"
        found = await self.cluster.read("get", "configmaps", selector, what=f"history of {self.name}")
        return History.read(found.get("items") or [])

    # Parts of a run

    def _prepared(self, rendered: str, subject: Subject, run: str) -> list[Manifest]:
        """Check the manifests and put the release into them."""
        objects = manifests.parse(rendered)
        if problems := manifests.violations(objects, self.service):
            raise InvalidInputError(
                f"deploy to {self.name}: the manifests may not be applied",
                output="\n".join(problems),
                hint="docs/kubernetes.md tells what they must hold, and why",
            )
        annotations = {"commit": subject.commit, "digest": subject.pinned.digest, "run": subject.link or run}
        return manifests.with_release(objects, self.service, subject.pinned, annotations)

    @asynccontextmanager
    async def _alone(self, run: str, what: str, wait: int) -> AsyncIterator[None]:
        """Hold the environment."""
        async with lease.held(self.cluster, f"slipway-{self.service}", f"run-{run}", what=what, seconds=wait):
            yield

    def _tell_of_killed(self, past: History) -> None:
        if past.entries and past.entries[-1].result == "running":
            say("deploy", f"the last run, begun at {past.entries[-1].began}, never ended: this one repairs it")

    async def _apply(
        self, objects: Sequence[Manifest], *, what: str, force: bool = False, dry_run: bool = False
    ) -> None:
        argv = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--filename=-"]
        argv += ["--force-conflicts"] if force else []
        argv += ["--dry-run=server"] if dry_run else []
        await self.cluster.ask(argv, what=what, stdin=manifests.stream(objects))

    async def _existing(self, objects: Sequence[Manifest], what: str) -> set[str]:
        argv = ("get", "--ignore-not-found", *map(manifests.identity, objects))
        found = await self.cluster.read(*argv, what=what)
        items = found.get("items", [found] if found else [])
        return {manifests.identity(item) for item in items}

    async def _diff(self, objects: Sequence[Manifest], what: str) -> str:
        """Return how the cluster would change, field by field."""
        argv = [
            "get",
            "--ignore-not-found",
            "--show-managed-fields=false",
            "--output=json",
            *map(manifests.identity, objects),
        ]
        answer = await self.cluster.ask(argv, what=what)
        found = json.loads(answer) if answer.strip() else {}
        live = {manifests.identity(item): item for item in found.get("items", [found] if found else [])}
        dry = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--force-conflicts", "--dry-run=server"]
        answer = await self.cluster.ask(
            [*dry, "--filename=-", "--output=json"], what=what, stdin=manifests.stream(objects)
        )
        document = json.loads(answer)
        then = document.get("items", [document])
        return manifests.difference(live, {manifests.identity(item): item for item in then})

    async def _live(self, what: str) -> str:
        """Return the digest of the release that the live Deployment runs, or an empty string."""
        found = await self.cluster.read("get", "deployments", what=what)
        for item in found.get("items") or []:
            annotations = item["metadata"].get("annotations") or {}
            if f"{manifests.PREFIX}/digest" in annotations:
                for container in manifests.containers_of(item):
                    if container["image"].endswith(f"@{annotations[f'{manifests.PREFIX}/digest']}"):
                        return str(annotations[f"{manifests.PREFIX}/digest"])
        return ""

    async def _migrate(self, deployment: Manifest, subject: Subject, run: str, *, dry_run: bool) -> str:
        """Run the release's migrations as a Job; return what they said."""
        role = "migrate-dry-run" if dry_run else "migrate"
        command = [*MIGRATION, *(["--dry-run"] if dry_run else [])]
        work = manifests.job(
            deployment, self.service, subject.pinned, role=role, run=run, command=command, seconds=MIGRATION_SECONDS
        )
        if dry_run:
            # The service's own account may not be there yet, and nothing is to be changed for a rehearsal.
            work["spec"]["template"]["spec"].pop("serviceAccountName", None)
        what = f"deploy to {self.name}: migration{', dry run' if dry_run else ''}"
        hint = (
            "nothing was changed" if dry_run else "the database may be half migrated: look at it before anything else"
        )
        pod = await self._run_job(work, what=what, seconds=MIGRATION_SECONDS, hint=hint)
        said = await self._log_of(str(pod["metadata"]["name"]), self.service)
        say("deploy", f"migration{', dry run' if dry_run else ''} done")
        return said

    async def _run_job(self, work: Manifest, *, what: str, seconds: int, hint: str) -> Manifest:
        """Run a Job to its end; return its pod, which succeeded. It is removed in any case."""
        name = work["metadata"]["name"]
        if not await self.cluster.create(work, what=what):
            raise ClusterError(f"{what}: there is a Job {name} already", hint="run again")
        try:
            with anyio.fail_after(seconds):
                return await self._ended(name, what=what, hint=hint)
        except TimeoutError as error:
            raise NotReadyError(f"{what}: not done within {seconds} s", hint=hint) from error
        finally:
            with anyio.CancelScope(shield=True):
                await self._remove([f"job.batch/{name}"], what=what)

    async def _ended(self, name: str, *, what: str, hint: str) -> Manifest:
        began = time.monotonic()
        while True:
            job = await self.cluster.read("get", "job", name, what=what)
            found = await self.cluster.read("get", "pods", f"--selector=batch.kubernetes.io/job-name={name}", what=what)
            pods = found.get("items") or []
            status = job.get("status") or {}
            if status.get("succeeded") and pods:
                return dict(pods[-1])
            reason = next((text for pod in pods if (text := rollout.hopeless(pod))), "")
            if status.get("failed") or reason:
                words = await self._log_of(pods[-1]["metadata"]["name"], self.service) if pods else ""
                told = [line for pod in pods for line in rollout.told_by(pod)]
                raise StageFailedError(
                    f"{what}: {reason or 'it failed'}", output="\n".join([*told, words.strip()]), hint=hint
                )
            if not pods and time.monotonic() - began > PODLESS_SECONDS and (why := await self._why_no_pod(name)):
                raise StageFailedError(f"{what}: its pod cannot be created", output="\n".join(why), hint=hint)
            await anyio.sleep(POLL_SECONDS / 2)

    async def _why_no_pod(self, job: str) -> list[str]:
        """Return what the cluster says about a Job that got no pod."""
        about = f"--field-selector=involvedObject.kind=Job,involvedObject.name={job},type=Warning"
        found = await self.cluster.read("get", "events", about, what="events")
        return [f"{event.get('reason')}: {event.get('message')}" for event in found.get("items") or []]

    async def _log_of(self, pod: str, container: str) -> str:
        """Return the last lines of a container, of the run before if it was restarted; what there is, if anything."""
        for previous in (["--previous"], []):
            try:
                argv = ["logs", pod, f"--container={container}", f"--tail={LOG_LINES}", *previous]
                return await self.cluster.ask(argv, what="logs", patient=False)
            except ClusterError:
                continue
        return ""

    async def wait(self, deployment: Manifest, *, what: str, seconds: int) -> None:
        """Wait until all pods are of the release, ready for as long as the Deployment asks.

        Raises:
            RolloutError: at once where waiting is in vain, else when time is up: with events, reasons and last words.
        """
        name = deployment["metadata"]["name"]
        began = datetime.datetime.now(datetime.UTC)
        deadline = time.monotonic() + seconds
        told = ""
        while True:
            live, pods, progress = await self._progress(name, what)
            if progress.done:
                say("deploy", f"{name}: {progress.summary}")
                return
            if progress.summary != told:
                told = progress.summary
                say("deploy", f"{name}: {told}")
            if progress.hopeless or time.monotonic() > deadline:
                problem = progress.hopeless or f"not done within {seconds} s ({progress.summary})"
                raise RolloutError(
                    f"{what}: {problem}",
                    output="\n".join([*progress.details, *await self._evidence(live, pods, began)]),
                    hint=rollout.HINTS[progress.hint],
                )
            await anyio.sleep(POLL_SECONDS)

    async def _progress(self, name: str, what: str) -> tuple[Manifest, list[Manifest], rollout.Progress]:
        """Ask for a Deployment with all that belongs to it."""
        found = await self.cluster.read("get", "deployments,replicasets,pods", what=what)
        items = found.get("items") or []
        kinds: dict[str, list[Manifest]] = {"Deployment": [], "ReplicaSet": [], "Pod": []}
        for item in items:
            kinds[item["kind"]].append(item)
        live = next((item for item in kinds["Deployment"] if item["metadata"]["name"] == name), None)
        if live is None:
            raise RolloutError(
                f"{what}: Deployment {name} is gone", hint="somebody removed it: look at the cluster's audit log"
            )
        return live, kinds["Pod"], rollout.assess(live, kinds["ReplicaSet"], kinds["Pod"])

    async def _evidence(self, live: Manifest, pods: Sequence[Manifest], began: datetime.datetime) -> list[str]:
        """Return warnings since the beginning, and the last words of the container that tells most."""
        found = await self.cluster.read("get", "events", what="events")
        lines = rollout.recent(found.get("items") or [], began - datetime.timedelta(seconds=5))
        labels = (live["spec"]["selector"].get("matchLabels") or {}).items()
        mine = [pod for pod in pods if labels <= (pod["metadata"].get("labels") or {}).items()]
        if (worst := rollout.unready(mine)) and (words := (await self._log_of(*worst)).strip()):
            lines += [f"last words of {worst[0]}:", *words.splitlines()]
        return lines

    async def _smoke(self, objects: Sequence[Manifest], entry: Entry, run: str, test: str, attempts: int) -> int:
        """Ask the service from inside the cluster; return how many attempts it took."""
        what = f"smoke in {self.name}"
        deployment = manifests.deployment_of_release(objects, Pinned.parse(entry.reference))
        service = manifests.service_of(objects, deployment)
        if service is None:
            raise InvalidInputError(f"{what}: no Service leads to the pods", hint="add one to the manifests")
        port = service["spec"]["ports"][0]["port"]
        base = f"http://{service['metadata']['name']}.{self.cluster.namespace}:{port}"
        name = f"{self.service}-smoke-{run[:8]}"
        files = {smoke.SCRIPT: smoke.smoke_script()} | ({smoke.TEST: test} if test else {})
        command = smoke.argv(TERMINATION_LOG, base, entry.commit, attempts, test=bool(test))
        work = manifests.job(
            deployment, self.service, Pinned.parse(entry.reference),
            role="smoke", run=run, command=command, seconds=SMOKE_SECONDS,
        )  # fmt: skip
        manifests.mount(work, name, smoke.FOLDER)
        labels = work["metadata"]["labels"]
        scripts = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": labels},
            "data": files,
        }
        await self.cluster.create(scripts, what=what)
        try:
            pod = await self._run_job(work, what=what, seconds=SMOKE_SECONDS, hint="the test itself could not run")
        finally:
            with anyio.CancelScope(shield=True):
                await self._remove([f"configmap/{name}"], what=what)
        answer = rollout.message_of(pod)
        if not answer:
            raise SmokeFailedError(f"{what}: {smoke.NO_RESULT}", hint="its own test must return or throw, not exit")
        return smoke.judged(answer, entry.reference, attempts, what=what, hint="what it answered stands above")

    async def _stays(self, objects: Sequence[Manifest], entry: Entry, seconds: int) -> None:
        """Watch the pods for a while: a crash ten seconds after the test is a failure too."""
        what = f"smoke in {self.name}"
        name = manifests.deployment_of_release(objects, Pinned.parse(entry.reference))["metadata"]["name"]
        began = datetime.datetime.now(datetime.UTC)
        deadline = time.monotonic() + seconds
        first: dict[str, int] | None = None
        while True:
            live, pods, progress = await self._progress(name, what)
            labels = (live["spec"]["selector"].get("matchLabels") or {}).items()
            mine = [pod for pod in pods if labels <= (pod["metadata"].get("labels") or {}).items()]
            restarts = dict(rollout.restarts_of(mine))
            first = restarts if first is None else first
            crashed = [pod for pod, count in restarts.items() if count > first.get(pod, 0)]
            if not progress.done or crashed:
                problem = f"pod {crashed[0]} was restarted" if crashed else progress.hopeless or progress.summary
                raise RolloutError(
                    f"{what}: it passed, and then did not stay: {problem}",
                    output="\n".join([*progress.details, *await self._evidence(live, pods, began)]),
                    hint=rollout.HINTS["crash" if crashed else progress.hint],
                )
            if time.monotonic() > deadline:
                say("smoke", f"stayed for {seconds} s")
                return
            await anyio.sleep(POLL_SECONDS)

    # After a failure

    async def _fail(self, run: str, error: SlipwayError, *, seconds: int) -> NoReturn:
        """Record a failure, bring back what was proven before, and raise both."""
        with anyio.CancelScope(shield=True):
            await self._note(Record(run, Event.FAILED, history.now(), {"problem": error.problem}))
            past = await self.remembered()
            target = history.last_proven(past.entries, before=run)
            try:
                if target is None:
                    told = await self._clear(past, run)
                else:
                    await self._bring_back(past, target, run, seconds=seconds)
                    await self._note(Record(run, Event.RESTORED, history.now(), {"reference": target.reference}))
                    told = f"{self.name} was brought back to {target.reference}, and smoke-tested"
            except SlipwayError as second:
                await self._note(Record(run, Event.UNRESTORED, history.now(), {"problem": second.problem}))
                raise type(error)(
                    f"{error.problem}; and {self.name} could not be brought back: {second.problem}",
                    output=f"{error.output}\nbringing back: {second.output}",
                    hint=f"{self.name} needs a person now: look at `status`; {second.hint}",
                ) from error
        say("rollback", told)
        raise type(error)(f"{error.problem}\n{told}", output=error.output, hint=error.hint) from error

    async def _bring_back(self, past: History, target: Entry, run: str, *, seconds: int) -> int:
        """Apply the recorded manifests of a proven run, wait and smoke-test; return the attempts."""
        what = f"bringing {self.name} back"
        objects: list[Manifest] = json.loads(past.kept(target.run, "manifests"))
        say("rollback", f"{self.name}: back to {target.reference}")
        await self._apply(objects, what=what, force=True)
        deployment = manifests.deployment_of_release(objects, Pinned.parse(target.reference))
        await self.wait(deployment, what=what, seconds=seconds)
        return await self._smoke(objects, target, run[::-1], past.kept(target.run, "test"), smoke.ATTEMPTS)

    async def _clear(self, past: History, run: str) -> str:
        """Remove what this run made, where nothing was proven before."""
        what = f"clearing {self.name}"
        begun = next((record for record in past.records if record.run == run and record.event is Event.BEGUN), None)
        existed = set(begun.details.get("existed", [])) if begun else set()
        objects: list[Manifest] = json.loads(past.kept(run, "manifests") or "[]")
        made = [manifests.identity(m) for m in objects if manifests.identity(m) not in existed]
        await self._remove(made, what=what)
        await self._note(Record(run, Event.UNRESTORED, history.now(), {"problem": "nothing was proven before"}))
        kept = f"; left as it is: {', '.join(sorted(existed))}" if existed else ""
        return f"nothing was proven in {self.name} before: removed what this run made{kept}"

    async def _remove(self, identities: Sequence[str], *, what: str) -> None:
        if identities:
            await self.cluster.ask(["delete", "--ignore-not-found", "--wait=false", *identities], what=what)

    async def _remove_leftovers(self, what: str) -> None:
        """Remove Jobs and scripts of runs that were killed: nobody else is at work."""
        selector = f"--selector={manifests.PREFIX}/service={self.service}"
        await self.cluster.ask(["delete", "jobs,configmaps", selector, "--wait=false"], what=what)

    async def _remove_former(self, past: History, before: Entry | None, objects: Sequence[Manifest], what: str) -> None:
        """Remove what the last proven manifests had and these have not."""
        recorded = past.kept(before.run, "manifests") if before else ""
        now = set(map(manifests.identity, objects))
        former = [identity for m in json.loads(recorded or "[]") if (identity := manifests.identity(m)) not in now]
        if former:
            say("deploy", f"no longer in the manifests, removed: {', '.join(former)}")
            await self._remove(former, what=what)

    # Records

    async def _note(self, record: Record, extra: dict[str, str] | None = None) -> None:
        await self._record(await self.remembered(), record, extra)

    async def _record(self, past: History, record: Record, extra: dict[str, str] | None = None) -> None:
        """Write a record that is never changed; take the next free number."""
        what = f"history of {self.name}"
        number = past.next_number
        while not await self.cluster.create(
            history.to_manifest(record, service=self.service, environment=self.name, number=number, extra=extra),
            what=what,
        ):
            number += 1
        if old := past.surplus():
            archive = past.archive(old, service=self.service)
            argv = ["apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "--filename=-"]
            await self.cluster.ask(argv, what=what, stdin=json.dumps(archive))
            await self._remove([f"configmap/{found['metadata']['name']}" for found in old], what=what)

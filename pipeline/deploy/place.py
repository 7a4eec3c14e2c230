"""A place to deploy to: a namespace in which one service is rolled out, proven, brought back and read_history."""

import dataclasses
import datetime
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import anyio
import dagger
from dagger import Doc

from pipeline.core.errors import BusyError, InvalidInputError, SlipwayError
from pipeline.core.execution import check_positive
from pipeline.core.log import log
from pipeline.core.sdk import field, object_type
from pipeline.deploy import jobs, smoke
from pipeline.deploy.kustomize import checked
from pipeline.images import Images
from pipeline.kubernetes import lease, manifests
from pipeline.kubernetes.cluster import Cluster, check_environment
from pipeline.kubernetes.manifests import Manifest
from pipeline.kubernetes.watch import Watch
from pipeline.observe import history
from pipeline.observe.history import DeploymentRecord, EventType, History, HistoryEvent
from pipeline.observe.history_store import HistoryStore
from pipeline.oci.references import DigestReference, check_name
from pipeline.signing.policy import VerificationPolicy

ROLLOUT_SECONDS = 300
LEASE_SECONDS = 600
STABLE_SECONDS = 15
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
class DeployRequest:
    """What is deployed, and how that came about.

    Args:
        reference: host/path@sha256:…
        commit: the commit that it was built from.
        committed: time of the commit, RFC 3339, or empty.
        migrates: whether the image has migrations.
        action: deploy, promote or rollback.
        approved_by: who approved it, or empty.
        link: address of the CI run, or empty.
        unsigned: why it is deployed without a signature, or empty.
    """

    reference: str
    commit: str
    committed: str
    migrates: bool
    action: str
    approved_by: str = ""
    link: str = ""
    unsigned: str = ""

    @property
    def pinned(self) -> DigestReference:
        """The reference, read."""
        return DigestReference.parse(self.reference)

    def told(self, **also: object) -> dict[str, Any]:
        """Return what the history keeps of a run's beginning."""
        return dataclasses.asdict(self) | also


@object_type
class EnvironmentTarget:
    """A namespace of a cluster in which one service is deployed."""

    name: Annotated[str, Doc("Such as staging.")] = field()
    service: Annotated[str, Doc("Name of the service: also that of the image in the manifests.")] = field()
    cluster: Annotated[Cluster, Doc("The cluster and namespace.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()
    trust: Annotated[VerificationPolicy, Doc("Whose signature a release needs.")] = field()
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
        trust: VerificationPolicy,
        delivery: dagger.Directory,
    ) -> "EnvironmentTarget":
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
        return cls(name=name, service=service, cluster=cluster, images=images, trust=trust, delivery=delivery)

    async def beside(
        self,
        name: str,
        kubeconfig: dagger.Secret | None,
        *,
        context: str,
        namespace: str,
        api_server: dagger.Service | None,
    ) -> "EnvironmentTarget":
        """Return another environment of the same service, in the same cluster if no other is given."""
        if kubeconfig:
            return await EnvironmentTarget.connect(
                name,
                self.service,
                kubeconfig,
                context=context,
                namespace=namespace,
                api_server=api_server,
                images=self.images,
                trust=self.trust,
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

    async def check(self, folder: dagger.Directory) -> None:
        """Check, before anything expensive, that the manifests may be applied, and that the cluster will let us.

        Raises:
            SlipwayError: with what is wrong.
        """
        what = f"deploy to {self.name}"
        await self.ready(what, await self._manifests(folder, what))

    async def ready(self, what: str, objects: Sequence[Manifest] = ()) -> str:
        """Check that the cluster is there and lets us do what will be done; return whom it takes us for."""
        verbs = ("get", "create", "patch", "delete")
        needed = [(verb, *manifests.resource_of(manifest)) for manifest in objects for verb in verbs]
        return await self.cluster.check([*NEEDED, *dict.fromkeys(needed)], what=what)

    async def roll_out(
        self,
        subject: DeployRequest,
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
        objects = await self._prepared(subject, folder, run)
        user = await self.ready(what, objects)
        manifests.annotate(objects, {"by": user, "approved-by": subject.approved_by})
        async with self._alone(run, what, wait):
            past = await self.read_history()
            await self._tidy(past, what)
            await self.cluster.apply(
                objects, what=f"{what}: dry run on the server", force=force_conflicts, dry_run=True
            )
            foreign = await self._foreign(past, objects, what)
            if subject.migrates:
                await self._migrate(objects, subject, run, what, dry=True)
            before = history.last_verified(past.entries)
            begun = subject.told(by=user, replaced=await self._live(what), existed=foreign)
            past = await self._note(past, run, EventType.BEGUN, begun, {"manifests": json.dumps(objects)})
            try:
                if subject.migrates:
                    # The account and settings that the migration runs with come first.
                    settings = manifests.settings(objects)
                    await self.cluster.apply(settings, what=f"{what}: settings", force=force_conflicts)
                    await self._migrate(objects, subject, run, what, dry=False)
                await self.cluster.apply(objects, what=f"{what}: applying the manifests", force=force_conflicts)
                await self._watch(objects, subject.pinned, what).wait_until_ready(seconds)
                await self._remove_former(past, before, objects, what)
            except SlipwayError as error:
                await self._fail(past, run, error, seconds=seconds)
            await self._note(past, run, EventType.DEPLOYED)

    async def prove(
        self,
        run: str,
        *,
        test: str = "",
        url: str = "",
        url_service: dagger.Service | None = None,
        attempts: int = smoke.ATTEMPTS,
        stable_seconds: int = STABLE_SECONDS,
        seconds: int = ROLLOUT_SECONDS,
        wait: int = LEASE_SECONDS,
    ) -> DeploymentRecord:
        """Smoke-test what a run deployed, watch it for a while, and record the proof; if that fails, bring back.

        Returns the run, proven.

        Raises:
            SlipwayError: with what failed, and how bringing back went.
        """
        what = f"smoke in {self.name}"
        async with self._alone(run, what, wait):
            past = await self.read_history()
            entry = past.entries[-1] if past.entries else None
            if entry is None or entry.run != run:
                raise BusyError(
                    f"{what}: another run ({entry.run if entry else 'unknown'}) deployed after this one, "
                    "so there is nothing to prove",
                    hint="look at `history`, then deploy again",
                )
            objects = past.manifests(run)
            try:
                made = await self._smoke(
                    objects, entry, run, what, test=test, url=url, url_service=url_service, attempts=attempts
                )
                await self._watch(objects, DigestReference.parse(entry.reference), what).wait_stable(stable_seconds)
            except SlipwayError as error:
                await self._fail(past, run, error, seconds=seconds)
            # What only this machine reaches is not there when the release is to be proven again.
            told = {"attempts": made, "url": "" if url_service else url}
            past = await self._note(past, run, EventType.PROVEN, told, {"test": test})
            return past.entries[-1]

    async def roll_back(self, run: str, digest: str, *, link: str, seconds: int, wait: int) -> DeploymentRecord:
        """Bring back what was proven before what runs now, with the manifests of that time, and prove it again.

        Returns the run, proven.

        Raises:
            SlipwayError: if there is nothing to go back to, or it fails.
        """
        what = f"rollback of {self.name}"
        user = await self.ready(what)
        async with self._alone(run, what, wait):
            past = await self.read_history()
            await self._tidy(past, what)
            live = await self._live(what)
            candidates = [e for e in past.entries if e.result == "proven" and past.kept(e.run, "manifests")]
            allowed = {entry.run for entry in history.rollback_candidates(past.entries, live)}
            wanted = [e for e in candidates if (e.digest == digest if digest else e.run in allowed)]
            if not wanted:
                known = ", ".join(dict.fromkeys(e.digest for e in candidates)) or "none"
                raise InvalidInputError(
                    f"{what}: {f'{digest} was not' if digest else 'nothing was'} proven here"
                    f"{'' if digest else ' before what runs now'}",
                    hint=f"--digest, one of those proven and read_history: {known}",
                )
            target = wanted[-1]
            subject = DeployRequest(
                target.reference, target.commit, target.committed, target.migrates, action="rollback", link=link
            )
            kept = {name: past.kept(target.run, name) for name in ("manifests", "test")}
            begun = subject.told(by=user, replaced=live)
            past = await self._note(past, run, EventType.BEGUN, begun, {"manifests": kept["manifests"]})
            try:
                made = await self._bring_back(past, target, run, seconds=seconds)
            except SlipwayError as error:
                await self._note(past, run, EventType.FAILED, {"problem": error.problem})
                raise
            proven = {"attempts": made, "url": target.url}
            past = await self._note(past, run, EventType.PROVEN, proven, {"test": kept["test"]})
            return past.entries[-1]

    async def preview(self, subject: DeployRequest, folder: dagger.Directory, run: str) -> str:
        """Return what a deployment would change, and what the migration says of itself. Nothing is changed."""
        what = f"plan for {self.name}"
        objects = await self._prepared(subject, folder, run)
        await self.ready(what, objects)
        past = await self.read_history()
        live = await self._live(what)
        last = past.entries[-1] if past.entries else None
        lines = [
            f"environment  {self.name} (namespace {self.cluster.namespace} of {self.cluster.server})",
            f"release      {subject.reference}",
            f"replaces     {live or 'nothing'}",
            f"last run     {f'{last.action} of {last.digest}: {last.result}' if last else 'none'}",
            "",
            (await self._difference(objects, what)).strip() or "no object would change",
        ]
        if subject.migrates:
            said = await self._migrate(objects, subject, run, what, dry=True)
            lines += ["", "migration, dry run:", said or "it says nothing"]
        return "\n".join(lines)

    async def status(self) -> dict[str, Any]:
        """Return what runs, whether it is proven, and how it differs from what was recorded."""
        what = f"status of {self.name}"
        await self.ready(what)
        past = await self.read_history()
        live = await self._live(what)
        of_it = [e for e in past.entries if live in (e.digest, e.restored.partition("@")[2])] if live else []
        proof = next((e for e in reversed(of_it) if e.digest == live and e.result == "proven"), None)
        drift = ""
        if of_it and (recorded := past.manifests((proof or of_it[-1]).run)):
            drift = (await self._difference(recorded, what)).strip()
        return {
            "environment": self.name,
            "namespace": self.cluster.namespace,
            "digest": live,
            "commit": (proof or of_it[-1]).commit if of_it else "",
            "proven": proof.proven if proof else "",
            "last": dataclasses.asdict(past.entries[-1]) if past.entries else None,
            "drift": drift,
            "known": bool(of_it),
        }

    async def running(self) -> str:
        """Return the reference of the release that runs here.

        Raises:
            InvalidInputError: if Slipway deployed none that still runs.
        """
        live = await self._live(f"what runs in {self.name}")
        entries = (await self.read_history()).entries
        reference = next((entry.reference for entry in reversed(entries) if live and entry.digest == live), "")
        if not reference:
            raise InvalidInputError(f"{self.name}: no release of Slipway runs there", hint="look at `status`")
        return reference

    async def proven(self, digest: str, max_age_hours: int, commit: str = "") -> DeploymentRecord:
        """Return the run that proves a digest or commit fit to be promoted, or what was deployed last."""
        check_positive("max-age-hours", max_age_hours)
        if digest and commit:
            raise InvalidInputError("promote: both a digest and a commit are given", hint="name one of them")
        entries = (await self.read_history()).entries
        digest = history.digest_of(entries, self.name, commit) if commit else digest
        age = datetime.timedelta(hours=max_age_hours)
        return history.verification_of(entries, self.name, digest, max_age=age, at=history.now())

    async def last_run_failed(self) -> bool:
        """Whether the last run here failed, or never ended."""
        entries = (await self.read_history()).entries
        return bool(entries) and entries[-1].result in {"failed", "running"}

    async def read_history(self) -> History:
        """Read what the namespace remembers."""
        return await self._ledger.read()

    # Parts of a run

    @property
    def _ledger(self) -> HistoryStore:
        return HistoryStore(self.cluster, self.service, self.name)

    async def _note(
        self,
        past: History,
        run: str,
        event: EventType,
        details: dict[str, Any] | None = None,
        kept: dict[str, str] | None = None,
    ) -> History:
        """HistoryEvent an event of a run; return the history with it."""
        return await self._ledger.write(past, HistoryEvent(run, event, history.now(), details or {}), kept)

    async def _manifests(self, folder: dagger.Directory, what: str) -> list[Manifest]:
        """Render the environment's manifests, and check them."""
        return await checked(self.cluster.kubectl_image, folder, self.name, self.service, what=what)

    async def _prepared(self, subject: DeployRequest, folder: dagger.Directory, run: str) -> list[Manifest]:
        """Render and check the manifests, and put the release into them."""
        objects = await self._manifests(folder, f"deploy to {self.name}")
        annotations = {
            "service": self.service,
            "commit": subject.commit,
            "digest": subject.pinned.digest,
            "run": subject.link or run,
        }
        return manifests.with_release(objects, self.service, subject.pinned, annotations)

    def _alone(self, run: str, what: str, wait: int) -> AbstractAsyncContextManager[None]:
        """Hold the environment."""
        return lease.held(self.cluster, *self._hold(run), what=what, seconds=wait)

    def _hold(self, run: str) -> tuple[str, str]:
        """Return the Lease's name, and the holder that a run is."""
        return f"slipway-{self.service}", f"run-{run}"

    async def _tidy(self, past: History, what: str) -> None:
        """Remove Jobs and scripts of runs that were killed: nobody else is at work."""
        if past.entries and past.entries[-1].result == "running":
            log("deploy", f"the last run, begun at {past.entries[-1].began}, never ended: this one repairs it")
        await jobs.remove_all(self.cluster, self.service, what=what)

    async def _present(self, objects: Sequence[Manifest], what: str) -> dict[str, Manifest]:
        """Return which of the objects are there, by identity."""
        found = await self.cluster.objects(*map(manifests.identity, objects), what=what)
        return {manifests.identity(item): item for item in found}

    async def _foreign(self, past: History, objects: Sequence[Manifest], what: str) -> list[str]:
        """Return which of the objects were there before: not those that a run made which never got anywhere."""
        present = await self._present(objects, what)
        arrived = any(entry.arrived for entry in past.entries)
        return sorted(name for name, found in present.items() if arrived or not manifests.is_managed(found))

    async def _difference(self, objects: Sequence[Manifest], what: str) -> str:
        """Return how the cluster would change, field by field."""
        live = await self._present(objects, what)
        then = await self.cluster.apply(objects, what=what, force=True, dry_run=True)
        return manifests.difference(live, {manifests.identity(item): item for item in then})

    async def _live(self, what: str) -> str:
        """Return the digest of the release that the live Deployment runs, or an empty string."""
        found = (
            manifests.released(item, self.service) for item in await self.cluster.objects("deployments", what=what)
        )
        return next((digest for digest in found if digest), "")

    def _watch(self, objects: Sequence[Manifest], reference: DigestReference, what: str) -> Watch:
        """Watch the Deployment of a release from now on."""
        return Watch(self.cluster, manifests.deployment_of_release(objects, reference)["metadata"]["name"], what)

    async def _migrate(
        self, objects: Sequence[Manifest], subject: DeployRequest, run: str, what: str, *, dry: bool
    ) -> str:
        """Run the release's migrations; return what they said."""
        return await jobs.migrate(self.cluster, objects, self.service, subject.pinned, run, what=what, dry=dry)

    async def _smoke(
        self,
        objects: Sequence[Manifest],
        entry: DeploymentRecord,
        run: str,
        what: str,
        *,
        test: str,
        url: str,
        url_service: dagger.Service | None = None,
        attempts: int,
    ) -> int:
        """Ask what a run deployed, at its address or else from inside the cluster; return how many attempts it took."""
        if url:
            return await smoke.ask(
                self.images.node,
                url,
                entry.commit,
                attempts,
                test=test,
                release=entry.reference,
                what=what,
                services={str(urlsplit(url).hostname): url_service} if url_service else {},
            )
        return await jobs.ask_from_inside(
            self.cluster,
            objects,
            self.service,
            DigestReference.parse(entry.reference),
            run,
            commit=entry.commit,
            test=test,
            attempts=attempts,
            what=what,
        )

    # After a failure

    async def _fail(self, past: History, run: str, error: SlipwayError, *, seconds: int) -> NoReturn:
        """HistoryEvent a failure, bring back what was proven before, and raise both."""
        with anyio.CancelScope(shield=True):
            past = await self._note(past, run, EventType.FAILED, {"problem": error.problem})
            target = history.last_verified(past.entries, before=run)
            try:
                # Bringing back is not cancelled when the hold is lost: so it does not begin without.
                if not await lease.is_held(self.cluster, *self._hold(run), what=f"bringing {self.name} back"):
                    raise BusyError("another run has taken over by now", hint="look at `history`")
                if target is None:
                    told = await self._clear(past, run)
                else:
                    await self._bring_back(past, target, run, seconds=seconds)
                    await self._note(past, run, EventType.RESTORED, {"reference": target.reference})
                    told = f"{self.name} was brought back to {target.reference}, and smoke-tested"
            except SlipwayError as second:
                await self._note(past, run, EventType.UNRESTORED, {"problem": second.problem})
                raise type(error)(
                    f"{error.problem}; and {self.name} could not be brought back: {second.problem}",
                    output=f"{error.output}\nbringing back: {second.output}",
                    hint=f"{self.name} needs a person now: look at `status`; {second.hint}",
                ) from error
        log("rollback", told)
        raise type(error)(f"{error.problem}\n{told}", output=error.output, hint=error.hint) from error

    async def _bring_back(self, past: History, target: DeploymentRecord, run: str, *, seconds: int) -> int:
        """Apply the recorded manifests of a proven run, wait and smoke-test; return the attempts."""
        what = f"bringing {self.name} back"
        objects = past.manifests(target.run)
        log("rollback", f"{self.name}: back to {target.reference}")
        await self.cluster.apply(objects, what=what, force=True)
        await self._watch(objects, DigestReference.parse(target.reference), what).wait_until_ready(seconds)
        await self.cluster.remove(past.created_since(target, objects), what=what)
        test = past.kept(target.run, "test")
        return await self._smoke(objects, target, run[::-1], what, test=test, url=target.url, attempts=smoke.ATTEMPTS)

    async def _clear(self, past: History, run: str) -> str:
        """Remove what this run made, where nothing was proven before."""
        what = f"clearing {self.name}"
        await self.cluster.remove(past.created_by(run), what=what)
        await self._note(past, run, EventType.UNRESTORED, {"problem": "nothing was proven before"})
        existed = past.found_by(run)
        kept = f"; changed by it, and left: {', '.join(sorted(existed))}" if existed else ""
        return f"nothing was proven in {self.name} before: removed what this run made{kept}"

    async def _remove_former(
        self, past: History, before: DeploymentRecord | None, objects: Sequence[Manifest], what: str
    ) -> None:
        """Remove what the last proven manifests had, or a run since then added, and these have not."""
        recorded = past.manifests(before.run) if before else []
        now = set(map(manifests.identity, objects))
        proven = [name for name in map(manifests.identity, recorded) if name not in now]
        if former := list(dict.fromkeys([*proven, *past.created_since(before, objects)])):
            log("deploy", f"no longer in the manifests, removed: {', '.join(former)}")
            await self.cluster.remove(former, what=what)

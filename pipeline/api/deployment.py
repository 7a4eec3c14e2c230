"""A release in an environment, and the proof that it works there."""

import dataclasses
from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.api.arguments import (
    AllowUnsigned,
    ApiServer,
    Context,
    ForceConflicts,
    Link,
    Manifests,
    MaxAgeHours,
    Namespace,
    Password,
    RegistryService,
    RolloutSeconds,
    SmokeUrl,
    UrlService,
    Username,
    Wait,
)
from pipeline.build.node import PORT
from pipeline.core.errors import InvalidInputError, NotPromotableError
from pipeline.core.execution import check_positive, run_id
from pipeline.core.sdk import field, function, object_type, uncached
from pipeline.deploy import smoke
from pipeline.deploy.place import LEASE_SECONDS, ROLLOUT_SECONDS, STABLE_SECONDS, DeployRequest, EnvironmentTarget
from pipeline.images import Images
from pipeline.observe import history
from pipeline.observe.history import DeploymentRecord
from pipeline.oci.registry import Registry, check_credentials
from pipeline.report.report import PASSED, Run, Stage, to_json, to_markdown
from pipeline.signing.verify import verify_for_deploy
from pipeline.source.delivery import manifests_in, test_in

MAX_AGE_HOURS = 168
APPROVER_LENGTH = 200


@object_type
class Deployment:
    """A release that runs in an environment. Made only by `deploy`."""

    release: Annotated[str, Doc("host/path@sha256:… of what runs.")] = field()
    commit: Annotated[str, Doc("The commit it was built from.")] = field()
    environment: Annotated[str, Doc("Where it runs.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()
    service: Annotated[dagger.Service | None, Doc("The running service, in a rehearsal.")] = field(default=None)
    place: Annotated[EnvironmentTarget | None, Doc("The environment, in a cluster.")] = field(default=None)
    run: Annotated[str, Doc("The run that deployed it.")] = field(default="")
    unsigned: Annotated[str, Doc("Why it was deployed without a signature, or empty.")] = field(default="")

    @classmethod
    async def into(
        cls,
        place: EnvironmentTarget,
        subject: DeployRequest,
        manifests: dagger.Directory | None,
        *,
        registry: Registry,
        allow_unsigned: bool,
        seconds: int,
        wait: int,
        force_conflicts: bool,
    ) -> "Deployment":
        """Verify a release and roll it out in a cluster, with the given manifests or else the service's own.

        Raises:
            SlipwayError: with what failed, and how bringing back went.
        """
        run = run_id()
        folder = await manifests_in(place.delivery, manifests)
        unsigned = await verify_for_deploy(
            registry,
            subject.pinned.digest,
            subject.commit,
            images=place.images,
            trust=place.trust,
            what=f"deploy to {place.name}",
            allow_unsigned=allow_unsigned,
        )
        subject = dataclasses.replace(subject, unsigned=unsigned)
        await place.roll_out(subject, folder, run, seconds=seconds, wait=wait, force_conflicts=force_conflicts)
        return cls(
            release=subject.reference,
            commit=subject.commit,
            environment=place.name,
            images=place.images,
            place=place,
            run=run,
            unsigned=unsigned,
        )

    @uncached
    async def smoke(
        self,
        test: Annotated[
            dagger.File | None,
            Doc("A module whose default export gets the base URL and throws when a round trip fails."),
        ] = None,
        attempts: Annotated[int, Doc("How often to try before giving up.")] = smoke.ATTEMPTS,
        stable_seconds: Annotated[
            int, Doc("In a cluster: for how long the pods must stay ready afterwards, in seconds.")
        ] = STABLE_SECONDS,
        url: SmokeUrl = "",
        url_service: UrlService = None,
        seconds: RolloutSeconds = ROLLOUT_SECONDS,
    ) -> "Verification":
        """Ask the deployed service: /healthz, /readyz, that /version is the commit just built, and one round trip.

        Pauses grow from half a second to eight. It always runs: never answered from cache. In a cluster it asks
        through the Service from a Job inside, or at a URL, and the proof is recorded there; if it fails, what was
        proven before is brought back, for which `seconds` are.

        Errors: what the last attempt was told, once all are used up; pods that did not stay.
        """
        check_positive("attempts", attempts)
        check_positive("seconds", seconds)
        if self.place:
            own = await test_in(self.place.delivery, test)
            entry = await self.place.prove(
                self.run,
                test=await own.contents() if own else "",
                url=smoke.check_url(url, url_service) if url else "",
                url_service=url_service,
                attempts=attempts,
                stable_seconds=stable_seconds,
                seconds=seconds,
            )
            return Verification.of(self.place, entry)
        if url or url_service:
            raise InvalidInputError("smoke: a rehearsal has no --url", hint="give it where a cluster is deployed to")
        assert self.service  # noqa: S101 - a deployment has a service, or a place in a cluster
        made = await smoke.ask(
            self.images.node,
            f"http://service:{PORT}",
            self.commit,
            attempts,
            test=await test.contents() if test else "",
            release=self.release,
            what="smoke",
            services={"service": self.service},
        )
        return Verification(
            release=self.release, commit=self.commit, environment=self.environment, at=history.now(), attempts=made
        )


@object_type
class Verification:
    """A deployment that was seen to work. Made by `smoke`, or read where that recorded it."""

    release: Annotated[str, Doc("host/path@sha256:… of what was proven.")] = field()
    commit: Annotated[str, Doc("The commit it was built from.")] = field()
    environment: Annotated[str, Doc("Where it was proven.")] = field()
    at: Annotated[str, Doc("When, RFC 3339.")] = field()
    attempts: Annotated[int, Doc("How many attempts it took.")] = field()
    link: Annotated[str, Doc("Address of the CI run, or empty.")] = field(default="")
    place: Annotated[EnvironmentTarget | None, Doc("The environment, in a cluster.")] = field(default=None)

    @classmethod
    def of(cls, place: EnvironmentTarget, entry: DeploymentRecord) -> "Verification":
        """Return the proof that a run in a cluster gave."""
        return cls(
            release=entry.reference,
            commit=entry.commit,
            environment=place.name,
            at=entry.proven,
            attempts=entry.attempts,
            link=entry.link,
            place=place,
        )

    @function
    def report(self) -> dagger.Directory:
        """report.md and report.json, of the form that `ship report` has for a whole run."""
        told = Run(
            name=self.release.partition("@")[0].rpartition("/")[2],
            stages=[Stage("smoke", PASSED, detail=f"attempt {self.attempts}, at {self.at}")],
            commit=self.commit,
            rehearsal=self.place is None,
            environment=self.environment if self.place else "",
            reference=self.release,
        )
        return dag.directory().with_new_file("report.md", to_markdown(told)).with_new_file("report.json", to_json(told))

    @uncached
    async def promote(
        self,
        to: Annotated[str, Doc("Where to, such as production.")],
        approved_by: Annotated[str, Doc("Who approved it: a person's name or address, for the history.")],
        kubeconfig: Annotated[dagger.Secret | None, Doc("Of the other cluster. Default: the same cluster.")] = None,
        context: Context = "",
        namespace: Namespace = "",
        api_server: ApiServer = None,
        manifests: Manifests = None,
        max_age_hours: MaxAgeHours = MAX_AGE_HOURS,
        seconds: RolloutSeconds = ROLLOUT_SECONDS,
        wait: Wait = LEASE_SECONDS,
        force_conflicts: ForceConflicts = False,
        link: Link = "",
        username: Username = "",
        password: Password = None,
        registry_service: RegistryService = None,
        allow_unsigned: AllowUnsigned = False,
    ) -> Deployment:
        """Deploy to the next environment the very digest that was proven here; nothing is built.

        The proof is looked up again: it must be the last word on that digest. Signature, provenance and SBOM are
        checked in the registry, whose credentials these are.

        Errors: no approver; no signature, or another's; a proof that is missing, failed, superseded or too old;
        whatever `deploy` may meet.
        """
        check_positive("seconds", seconds)
        approver = check_approver(approved_by)
        check_credentials(username, password)
        if self.place is None:
            raise NotPromotableError(
                "promote: a rehearsal proves nothing about an environment", hint="deploy to staging first"
            )
        if to == self.environment and not kubeconfig:
            raise InvalidInputError(f"promote: from {to} to {to}", hint="name the next environment")
        entry = await self.place.proven(self.release.partition("@")[2], max_age_hours)
        place = await self.place.beside(to, kubeconfig, context=context, namespace=namespace, api_server=api_server)
        subject = DeployRequest(
            reference=entry.reference,
            commit=entry.commit,
            committed=entry.committed,
            migrates=entry.migrates,
            action="promote",
            approved_by=approver,
            link=link,
        )
        return await Deployment.into(
            place,
            subject,
            manifests,
            registry=Registry(
                address=str(subject.pinned.repository),
                username=username,
                password=password,
                service=registry_service,
                client_image=place.images.node,
            ),
            allow_unsigned=allow_unsigned,
            seconds=seconds,
            wait=wait,
            force_conflicts=force_conflicts,
        )


def check_approver(name: str) -> str:
    """Return who approved, without the white space around it.

    Raises:
        InvalidInputError: if nobody is named, or not in one line.
    """
    approver = name.strip()
    if not approver or not approver.isprintable() or len(approver) > APPROVER_LENGTH:
        raise InvalidInputError(
            "promote: no approver is named", hint="--approved-by NAME, in one line: who answers for this promotion"
        )
    return approver

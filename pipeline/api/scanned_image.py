"""An image that may leave: scanned, or in a rehearsal loudly not."""

from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.api.release import Release
from pipeline.core.errors import InvalidInputError, RegistryError
from pipeline.core.execution import run_id
from pipeline.core.log import log
from pipeline.core.retry import retry
from pipeline.core.sdk import field, object_type, uncached
from pipeline.images import Images
from pipeline.oci.content import MEDIA_TYPES, Content
from pipeline.oci.references import DigestReference, Repository, check_tag
from pipeline.oci.registry import Registry, Stored, check_target
from pipeline.report.verdict import Status, Verdict
from pipeline.signing.policy import Signatures
from pipeline.signing.sign import sign
from pipeline.source.commit import Commit, check_releasable


@object_type
class ScannedImage:
    """A candidate and its verdict. Made only by a `scan` that passed, or that a rehearsal went on without."""

    container: Annotated[dagger.Container, Doc("The image.")] = field()
    variants: Annotated[list[dagger.Container], Doc("The image for further platforms.")] = field()
    commit: Annotated[Commit, Doc("The commit it was built from.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()
    signatures: Annotated[Signatures, Doc("Who signs, and is trusted.")] = field()
    base_image: Annotated[str, Doc("What it was built on, host/path@sha256:…")] = field()
    name: Annotated[str, Doc("Name of the service.")] = field()
    verdict: Annotated[Verdict, Doc("What the scanner said.")] = field()
    evidence: Annotated[dagger.Directory, Doc("What the scanner wrote: JSON, SARIF, table, SBOM.")] = field()
    content: Annotated[Content, Doc("The bytes that were scanned.")] = field()
    delivery: Annotated[dagger.Directory, Doc("The service's own manifests (deploy/) and smoke test.")] = field()

    @uncached
    async def publish(
        self,
        registry: Annotated[
            str | None, Doc("Where to, such as ghcr.io/org/app. Without it: a throwaway registry.")
        ] = None,
        username: Annotated[str, Doc("User of the registry.")] = "",
        password: Annotated[dagger.Secret | None, Doc("Password or token of the registry.")] = None,
        tag: Annotated[str, Doc("Tag for people. Default: twelve digits of the commit.")] = "",
        registry_service: Annotated[
            dagger.Service | None,
            Doc("The registry as a service, such as tcp://localhost:5000, for localhost addresses."),
        ] = None,
    ) -> Release:
        """Push the image, then read its manifest back by digest before it counts as a release; sign it, if asked to.

        A tag is never given other content. Outside a rehearsal the scan must have passed and the tree be clean.

        Errors: malformed address; wrong password; a registry that fails after five attempts, or serves other bytes;
        a key that does not open; a signature that is not of whom `with-trust` names.
        """
        check_target(registry, username, password, registry_service)
        if registry is not None:
            self._check_releasable()
        target = self._target(registry, username, password, registry_service)
        repository = Repository.parse(target.address)
        tag = check_tag(tag or self.commit.tag)

        existing = await target.stored(tag)
        if existing is None:
            digest = await self._push(target, f"{repository}:{tag}")
        elif self._is_same(existing):
            log("publish", f"{repository}:{tag} holds these bytes already")
            digest = existing.digest
        else:
            raise RegistryError(
                f"publish: {repository}:{tag} holds other content already ({existing.digest})",
                hint="deploy that digest with `release --ref`, or give this one another --tag",
            )

        pinned = DigestReference(repository, digest)
        stored = await target.stored(digest)
        if stored is None or stored.digest != digest:
            raise RegistryError(
                f"publish: {pinned} was pushed, but the registry does not give it back",
                hint="look at the registry's storage and at any cache in front of it",
            )
        if not self._is_same(stored):
            raise RegistryError(
                f"publish: {pinned} is not what was scanned",
                output=f"scanned: {' '.join(self.content.layers)}\nstored:  {' '.join(stored.content.layers)}",
                hint="something between engine and registry changes images: do not deploy this",
            )
        if self.signatures.signer:
            await sign(
                target,
                digest,
                images=self.images,
                signatures=self.signatures,
                commit=self.commit,
                bases=[self.base_image],
                platforms=[str(await image.platform()) for image in [self.container, *self.variants]],
                evidence=self.evidence,
            )
        return Release(
            reference=str(pinned),
            digest=digest,
            config_digests=stored.content.configs,
            commit=self.commit.sha,
            committed=self.commit.created,
            delivery=self.delivery,
            registry=target,
            images=self.images,
            trust=self.signatures.trust,
            name=self.name,
            rehearsal=registry is None,
        )

    def _check_releasable(self) -> None:
        """Refuse what may only be rehearsed."""
        if self.verdict.status != Status.PASSED:
            raise InvalidInputError(
                f"publish: the scan's verdict is {self.verdict.status.value}, so this may only be rehearsed",
                hint="leave --registry out, or make the scanner available",
            )
        check_releasable(self.commit)

    def _target(
        self, registry: str | None, username: str, password: dagger.Secret | None, service: dagger.Service | None
    ) -> Registry:
        """Return the registry to push to, a throwaway one if none is given."""
        if registry is None:
            service = (
                dag.container()
                .from_(self.images.registry)
                # A registry of its own for every run: what an earlier run pushed must not be found.
                .with_env_variable("SLIPWAY_RUN", run_id())
                .with_exposed_port(5000)
                .as_service(use_entrypoint=True)
            )
        return Registry(
            address=registry or f"localhost:5000/{self.name}",
            username=username,
            password=password,
            service=service,
            client_image=self.images.node,
        )

    async def _push(self, target: Registry, address: str) -> str:
        """Push all platforms; return the digest that the engine computed."""
        if target.service:
            await target.service.start()
        container = target.authorised(self.container)

        async def push() -> str:
            return await container.publish(
                address,
                platform_variants=self.variants,
                media_types=MEDIA_TYPES,
                registry_service=target.service,
            )

        published = await retry(push, stage="publish", what=f"pushing {address}")
        return DigestReference.parse(published).digest

    def _is_same(self, stored: Stored) -> bool:
        """Whether an image holds and does what was scanned: layers, entrypoint, user, everything but its times."""
        return stored.content.fingerprints == self.content.fingerprints

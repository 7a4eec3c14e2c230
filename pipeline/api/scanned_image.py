"""An image that passed the vulnerability scan and can be published."""

from typing import Annotated

import dagger
from dagger import Doc

from pipeline.api.arguments import Tag
from pipeline.api.context import PipelineContext
from pipeline.api.release import Release
from pipeline.core.errors import error_context
from pipeline.core.sdk import field, object_type, uncached
from pipeline.oci.content import Content
from pipeline.publish.publish import Publication, check_publishable, rehearsal_registry
from pipeline.report.verdict import Verdict
from pipeline.signing.sign import SigningRequest, sign


@object_type
class ScannedImage:
    """An image and its verdict. Made only by a `scan` that passed, or by a rehearsal that went on without one."""

    container: Annotated[dagger.Container, Doc("The image.")] = field()
    variants: Annotated[list[dagger.Container], Doc("The image for further platforms.")] = field()
    base_image: Annotated[str, Doc("What it was built on, host/path@sha256:…; empty where unknown.")] = field()
    verdict: Annotated[Verdict, Doc("The verdict of the scan.")] = field()
    reports: Annotated[dagger.Directory, Doc("What the scanner wrote: JSON, SARIF, table, SBOMs.")] = field()
    content: Annotated[Content, Doc("The bytes that were scanned.")] = field()
    context: Annotated[PipelineContext, Doc("The service, its commit, the settings.")] = field()

    @uncached
    async def publish(self, tag: Tag = "") -> Release:
        """Push the image to the configured registry, read it back by digest, and sign it where a signer is configured.

        Without `with-registry`, to a throwaway registry. A tag is never given other content. Outside a rehearsal the
        scan must have passed and the source must not differ from its commit.

        Errors: wrong password; a registry that fails after five attempts, or serves other bytes; a key that cannot be
        opened; a signature that does not match `with-verification`.
        """
        project, commit, settings = self.context.project, self.context.commit, self.context.settings
        if settings.registry:
            check_publishable(self.verdict, commit)
        registry = settings.registry or rehearsal_registry(settings.images, project.name)
        platforms = [self.container, *self.variants]
        stored = await Publication(registry, platforms, self.content, tag or commit.tag).push()
        if settings.signer:
            request = SigningRequest(
                registry=registry,
                digest=stored.digest,
                commit=commit,
                bases=[self.base_image] if self.base_image else [],
                platforms=[str(await image.platform()) for image in platforms],
                evidence=self.reports,
            )
            with error_context("publish"):
                await sign(request, images=settings.images, signer=settings.signer, policy=settings.verification)
        return Release(
            reference=f"{registry.address}@{stored.digest}",
            digest=stored.digest,
            config_digests=stored.content.configs,
            registry=registry,
            context=self.context,
        )

"""Scanning a release again, with today's database."""

import dagger
from dagger import dag

from pipeline.core import clock
from pipeline.core.errors import error_context
from pipeline.core.log import log
from pipeline.images import Images
from pipeline.oci.content import content_of
from pipeline.report.run import FAILED, PASSED, Run, Stage
from pipeline.report.verdict import Status
from pipeline.scan.scan import Scanner, check_scanned, judge_image


async def rescan(
    image: dagger.Container, scanner: Scanner, images: Images, own_ignores: dagger.File | None, *, name: str
) -> tuple[Run, dagger.Directory]:
    """Scan a published image; return the run of one stage, and what the scanner wrote.

    Args:
        image: pulled by its digest.
        scanner: how it is scanned.
        images: Trivy, and the tool image.
        own_ignores: the service's own ignore file, or None.
        name: of the service.

    Raises:
        SlipwayError: if the scanner fails, or read other bytes. A closed gate is a failed run, not an error.
    """
    began = clock.monotonic()
    with error_context("rescan"):
        content = await content_of([image], dag.container().from_(images.tool))
    result = await judge_image([image], scanner, images, own_ignores)
    verdict = result.verdict
    check_scanned(verdict, content)
    for warning in verdict.warnings:
        log("rescan", f"warning: {warning}")
    clean = verdict.status == Status.PASSED
    stage = Stage("rescan", PASSED if clean else FAILED, clock.monotonic() - began, verdict.reason)
    error = "" if clean else "\n".join([f"rescan: {verdict.reason}", *verdict.blocking])
    return Run(name=name, stages=[stage], verdict=verdict, error=error), result.reports

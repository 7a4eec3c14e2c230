"""The verdict of a scan."""

import enum
from typing import Annotated

from dagger import Doc, enum_type

from pipeline.core.sdk import field, object_type


@enum_type
class Status(enum.Enum):
    """Status of a scan."""

    PASSED = "passed"
    """Scanned with a recent database, without a blocking finding."""

    FAILED = "failed"
    """Scanned, with at least one blocking finding."""

    UNAVAILABLE = "unavailable"
    """Not scanned: the scanner or its database is not available. Never the same as passed."""


@object_type
class Verdict:
    """The verdict of a scan, with the scanner, database and findings behind it."""

    status: Annotated[Status, Doc("passed, failed or unavailable.")] = field()
    reason: Annotated[str, Doc("Why it is unavailable or failed, in one line.")] = field(default="")
    scanner: Annotated[str, Doc("Name and version of the scanner.")] = field(default="")
    database: Annotated[str, Doc("Build time of the vulnerability database, RFC 3339.")] = field(default="")
    counts: Annotated[list[str], Doc("Number of findings per severity, such as `HIGH 2`.")] = field(default=list)
    blocking: Annotated[list[str], Doc("Findings that close the gate, one per line.")] = field(default=list)
    ignored: Annotated[list[str], Doc("Findings that an ignore covers, with its reason.")] = field(default=list)
    images: Annotated[list[str], Doc("Config digests of the scanned images.")] = field(default=list)
    warnings: Annotated[list[str], Doc("Warnings, such as an ignore that matches no finding.")] = field(default=list)

"""What the scanner said of an image."""

import enum
from typing import Annotated

from dagger import Doc, enum_type

from pipeline.core.sdk import field, object_type


@enum_type
class Status(enum.Enum):
    """How a scan ended."""

    PASSED = "passed"
    """Scanned with a fresh database, and nothing found that closes the gate."""

    FAILED = "failed"
    """Scanned, and found what may not be shipped."""

    UNAVAILABLE = "unavailable"
    """Not scanned: no scanner or no database could be had. Never the same as passed."""


@object_type
class Verdict:
    """The answer of a scan, and what it rests on."""

    status: Annotated[Status, Doc("passed, failed or unavailable.")] = field()
    reason: Annotated[str, Doc("Why it is unavailable or failed, in one line.")] = field(default="")
    scanner: Annotated[str, Doc("Name and version of the scanner.")] = field(default="")
    database: Annotated[str, Doc("When the vulnerability database was made, RFC 3339.")] = field(default="")
    counts: Annotated[list[str], Doc("Findings by severity, such as `HIGH 2`.")] = field(default=list)
    blocking: Annotated[list[str], Doc("The findings that close the gate, one a line.")] = field(default=list)
    ignored: Annotated[list[str], Doc("Findings that an ignore covers, with its reason.")] = field(default=list)
    images: Annotated[list[str], Doc("Config digests of the images that were scanned.")] = field(default=list)
    warnings: Annotated[list[str], Doc("Such as an ignore that matches nothing.")] = field(default=list)

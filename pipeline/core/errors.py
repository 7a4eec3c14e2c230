"""All errors of Slipway. Each says what happened, on what, and what to try next; docs/failures.md lists their codes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from pipeline.core.sdk import FunctionError

TAIL_LINES = 20


def tail(output: str, lines: int = TAIL_LINES) -> str:
    """Return the last `lines` non-empty lines of a tool's output."""
    kept = [line.rstrip() for line in output.splitlines() if line.strip()]
    return "\n".join(kept[-lines:])


class SlipwayError(FunctionError):
    """The base of all errors that Slipway raises on purpose.

    As a FunctionError of dagger-io it is shown without a traceback, which would tell its reader nothing.

    Args:
        problem: what happened and on what, in one line.
        hint: what to try next, in one line.
        output: the failing tool's output; the last lines are shown.
    """

    code: ClassVar[str]

    def __init__(self, problem: str, *, hint: str = "", output: str = "") -> None:
        self.problem = problem
        self.hint = hint
        self.output = tail(output)
        # What a gate found before it closed, for the report of a failed run: a ScanResult.
        self.result: object = None
        super().__init__(problem)

    def __str__(self) -> str:
        """Return the problem, the tool's last lines indented, the hint, and the code."""
        shown = [self.problem]
        shown += [f"    {line}" for line in self.output.splitlines()]
        if self.hint:
            shown.append(f"  try: {self.hint}")
        return "\n".join([*shown, f"  code: {self.code}"])


class InvalidInputError(SlipwayError):
    """An argument or a file of the caller is not of the accepted form."""

    code = "invalid-input"


class StageFailedError(SlipwayError):
    """A tool exited with a failure: lint, test, build or migration."""

    code = "stage-failed"


class GateClosedError(SlipwayError):
    """A gate judged the source or the image, and what it found must not be shipped."""

    code = "gate-closed"


class ScannerUnavailableError(SlipwayError):
    """The scanner or its vulnerability database is not available, so there is no verdict."""

    code = "scanner-unavailable"


class RegistryError(SlipwayError):
    """The registry refused, failed after all attempts, or serves other bytes than were pushed."""

    code = "registry-failed"


class VerificationFailedError(SlipwayError):
    """A release's signature, provenance or SBOM is missing, or does not match the verification policy."""

    code = "verification-failed"


class UnsignedError(VerificationFailedError):
    """A release has no signature, or no verification policy is configured."""

    code = "unsigned"


class ClusterError(SlipwayError):
    """The Kubernetes API server refused, failed after all attempts, or cannot be reached."""

    code = "cluster-failed"


class RolloutError(SlipwayError):
    """A release did not become ready in an environment, or did not stay ready."""

    code = "rollout-failed"


class NotPromotableError(SlipwayError):
    """No verification allows a release to be promoted."""

    code = "not-promotable"


class BusyError(SlipwayError):
    """Another run holds the environment."""

    code = "environment-busy"


class NotReadyError(SlipwayError):
    """Something did not become ready, or did not end, within its deadline."""

    code = "deadline-exceeded"


class SmokeFailedError(SlipwayError):
    """The deployed release is not healthy, or is not the release that was deployed."""

    code = "smoke-failed"


class StageStoppedError(SlipwayError):
    """A stage failed and its error is recorded: the further stages are not run. Never shown to a user."""

    code = "stage-stopped"


class ShipmentFailedError(SlipwayError):
    """A stage of `ship` failed; the summary says which, and has the code of its error."""

    code = "shipment-failed"

    def __str__(self) -> str:
        """Return the summary alone: it ends with the headline."""
        return self.problem


@contextmanager
def error_context(context: str) -> Iterator[None]:
    """Put a context such as `deploy to staging` before the problem of every SlipwayError that the body raises."""
    try:
        yield
    except SlipwayError as error:
        error.problem = f"{context}: {error.problem}"
        raise


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors inside (nested) exception groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from causes(inner)
    else:
        yield error


def joined(failures: Sequence[SlipwayError]) -> SlipwayError:
    """Return the failure, or one error that shows all of several."""
    if len(failures) == 1:
        return failures[0]
    names = ", ".join(failure.problem.split(":", 1)[0] for failure in failures)
    return StageFailedError(f"{len(failures)} failures: {names}\n" + "\n".join(str(failure) for failure in failures))

"""All errors of Slipway. Each says what happened, on what, and what to try next."""

from collections.abc import Iterator, Sequence

from dagger.mod._exceptions import FunctionError

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
        output: the failing tool's own words; the last lines are shown.
    """

    def __init__(self, problem: str, *, hint: str = "", output: str = "") -> None:
        self.problem = problem
        self.hint = hint
        self.output = tail(output)
        super().__init__(problem)

    def __str__(self) -> str:
        """Return the problem, the tool's last lines indented, and the hint."""
        shown = [self.problem]
        shown += [f"    {line}" for line in self.output.splitlines()]
        if self.hint:
            shown.append(f"  try: {self.hint}")
        return "\n".join(shown)


class InvalidInputError(SlipwayError):
    """An argument or a file of the caller is not of the accepted form."""


class StageFailedError(SlipwayError):
    """A tool ran and said no: a failing lint, test, build or migration."""


class GateClosedError(SlipwayError):
    """The scan ran, and what it found may not be shipped."""


class ScannerUnavailableError(SlipwayError):
    """No scanner or no vulnerability database could be had, so there is no verdict."""


class RegistryError(SlipwayError):
    """The registry refused, failed for good, or serves other bytes than were pushed."""


class VerificationFailedError(SlipwayError):
    """A release's signature, provenance or SBOM is missing, or of somebody or something else."""


class UnsignedError(VerificationFailedError):
    """A release has no signature at all, or nobody is trusted to sign."""


class ClusterError(SlipwayError):
    """The Kubernetes API server refused, failed for good, or cannot be reached."""


class RolloutError(SlipwayError):
    """A release did not get ready in an environment, or did not stay so."""


class NotPromotableError(SlipwayError):
    """No proof allows a release to go on to the next environment."""


class BusyError(SlipwayError):
    """Another run holds the environment."""


class NotReadyError(SlipwayError):
    """Something that was waited for did not come within its deadline."""


class SmokeFailedError(SlipwayError):
    """The deployed release is not healthy, or is not the release that was deployed."""


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

"""The policy for the licenses of what is shipped: the production dependencies.

Permissive and weak copyleft licenses pass, as ScanCode's LicenseDB sorts them; strong copyleft, source-available,
proprietary and unknown ones are refused. What may pass all the same is in the ignore file, under `licenses`: a package
(`name`, `name@version`) or a license (SPDX id).
"""

import dataclasses
import datetime
import functools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.core.errors import GateClosedError, StageFailedError
from pipeline.scan import ignores
from pipeline.source.delivery import IGNORE_FILE

# Categories of ScanCode's LicenseDB, which comes with license-expression.
ALLOWED = {"Permissive", "Copyleft Limited", "Public Domain"}
# Which it takes for limited, and which reach a whole service.
STRONG = ("QPL-", "RPL-")
# With which something under the GPL may be linked to by what is not.
LINKING = {
    "Classpath-exception-2.0",
    "GCC-exception-2.0",
    "GCC-exception-3.1",
    "GPL-3.0-linking-exception",
    "GPL-3.0-linking-source-exception",
    "OpenJDK-assembly-exception-1.0",
    "Universal-FOSS-exception-1.0",
    "WxWindows-exception-3.1",
    "eCos-exception-2.0",
}
QUERY = ["npm", "query", "*"]


@dataclasses.dataclass(frozen=True, slots=True)
class Package:
    """An installed package.

    Args:
        license: SPDX expression as it says itself, or empty.
    """

    name: str
    version: str
    license: str

    def __str__(self) -> str:
        """Return name@version: license."""
        return f"{self.name}@{self.version}: {self.license or 'says no license'}"


def parse_packages(text: str) -> list[Package]:
    """Read what `npm query` prints of what is installed, without the service itself.

    Raises:
        StageFailedError: if it has another form.
    """
    try:
        return [
            Package(str(found["name"]), str(found["version"]), _license_of(found))
            for found in _list(json.loads(text))
            if found["location"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageFailedError(f"licenses: npm's answer cannot be read: {error!r}", output=text[-2000:]) from error


def check(packages: Sequence[Package], ignorefile: str) -> list[str]:
    """Refuse packages that may not be shipped; return warnings about ignores.

    Args:
        packages: what is shipped.
        ignorefile: text of the ignore file, or empty.

    Raises:
        GateClosedError: with those packages.
        InvalidInputError: if an ignore has no reason, no date, or is past it.
    """
    today = datetime.datetime.now(datetime.UTC).date()
    accepted = [ignore for ignore in ignores.parse(ignorefile, today) if ignore.section == ignores.LICENSES]
    closing, used = refused(packages, {ignore.id for ignore in accepted})
    if closing:
        raise GateClosedError(
            f"licenses: {len(closing)} of the production dependencies may not be shipped",
            output="\n".join(closing),
            hint=f"replace them; what may be shipped all the same goes into {IGNORE_FILE}, under `{ignores.LICENSES}`",
        )
    return [*ignores.unused(accepted, used), *ignores.expiring(accepted, today)]


def refused(packages: Iterable[Package], accepted: set[str]) -> tuple[list[str], set[str]]:
    """Return the packages that may not be shipped, one a line, and the ids of the ignores that were needed."""
    closing, used = [], set()
    for package in packages:
        names = {package.name, f"{package.name}@{package.version}"} & accepted
        bad = refused_in(package.license, accepted=set())
        if not bad:
            continue
        if names:
            used |= names
        elif refused_in(package.license, accepted=accepted):
            closing.append(str(package))
        else:
            used |= bad & accepted
    return sorted(set(closing)), used


def refused_in(expression: str, *, accepted: set[str]) -> set[str]:
    """Return the parts of an SPDX expression for which it is refused; of alternatives, the best is taken."""
    from license_expression import ExpressionError  # noqa: PLC0415 - only where licenses are checked

    try:
        parsed = _licensing().parse(expression, validate=True)
    except ExpressionError:
        parsed = None
    if parsed is None:
        return {expression} - accepted if expression else {"none"}
    return _refused(parsed, accepted)


def _refused(expression: Any, accepted: set[str]) -> set[str]:  # noqa: ANN401 - a node of the library's tree
    kind = type(expression).__name__
    if kind in {"AND", "OR"}:
        parts = [_refused(part, accepted) for part in expression.args]
        if kind == "OR":
            return min(parts, key=len)
        return set().union(*parts)
    name = expression.render("{symbol.key}")
    spdx_id, _, exception = name.partition(" WITH ")
    if accepted & {name, spdx_id} or _is_allowed(spdx_id) or (spdx_id.startswith("GPL-") and exception in LINKING):
        return set()
    return {name}


@functools.cache
def _licensing() -> Any:  # noqa: ANN401 - the library has no types
    """Return what reads SPDX expressions: it is made anew from all licenses each time."""
    from license_expression import get_spdx_licensing  # noqa: PLC0415

    return get_spdx_licensing()


def _is_allowed(spdx_id: str) -> bool:
    return _categories().get(spdx_id.removesuffix("+"), "") in ALLOWED and not spdx_id.startswith(STRONG)


@functools.cache
def _categories() -> dict[str, str]:
    """Return the category of each license, by its SPDX ids, today's and former ones; references are none of SPDX's."""
    from license_expression import get_license_index  # noqa: PLC0415 - only where licenses are checked

    return {
        name: str(known["category"])
        for known in get_license_index()
        for name in (known.get("spdx_license_key"), *known.get("other_spdx_license_keys", ()))
        if name and not name.startswith("LicenseRef-")
    }


def _list(answer: object) -> list[dict[str, Any]]:
    if not isinstance(answer, list):
        raise TypeError(f"{type(answer).__name__} instead of a list")
    return answer


def _license_of(package: dict[str, Any]) -> str:
    """Return the license of a package.json, in today's form or one of the old ones."""
    told = package.get("license") or package.get("licenses") or ""
    options = told if isinstance(told, list) else [told]
    names = [str(option.get("type", "")) if isinstance(option, dict) else str(option) for option in options]
    return names[0] if len(names) == 1 else " OR ".join(f"({name})" for name in names)

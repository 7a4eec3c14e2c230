"""The policy for the licenses of production dependencies.

By the categories of ScanCode's LicenseDB, permissive and weak copyleft licenses pass; strong copyleft,
source-available, proprietary and unknown ones are refused. The ignore file lists exceptions under `licenses`: a package
(`name`, `name@version`) or a license (SPDX id).
"""

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.core.clock import today
from pipeline.core.documents import as_list
from pipeline.core.errors import GateClosedError, StageFailedError
from pipeline.scan import ignores
from pipeline.source.project import IGNORE_FILE

# Categories of ScanCode's LicenseDB, which license-expression includes.
ALLOWED = {"Permissive", "Copyleft Limited", "Public Domain"}
# In the category "Copyleft Limited", although their copyleft extends to a whole service.
STRONG = ("QPL-", "RPL-")
# Exceptions that allow linking a GPL library into a program with another license.
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
        name: name in its package.json.
        version: version in its package.json.
        license: SPDX expression in its package.json, or empty.
    """

    name: str
    version: str
    license: str

    def __str__(self) -> str:
        """Return name@version: license."""
        return f"{self.name}@{self.version}: {self.license or 'no license'}"


def parse_packages(text: str) -> list[Package]:
    """Return the installed packages from the output of `npm query`, without the service itself.

    Raises:
        StageFailedError: if the output has another form.
    """
    try:
        return [
            Package(str(package["name"]), str(package["version"]), _license(package))
            for package in as_list(json.loads(text))
            if package["location"]
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StageFailedError(f"licenses: cannot parse npm's output: {error!r}", output=text[-2000:]) from error


def check(packages: Sequence[Package], ignorefile: str) -> list[str]:
    """Refuse packages with a license that the policy forbids; return warnings about ignores.

    Args:
        packages: the production dependencies.
        ignorefile: text of the ignore file, or empty.

    Raises:
        GateClosedError: with the refused packages.
        InvalidInputError: if an ignore has no reason, no date, or has expired.
    """
    accepted = [ignore for ignore in ignores.parse(ignorefile, today()) if ignore.section == ignores.LICENSES]
    blocking, used = refused_packages(packages, {ignore.id for ignore in accepted})
    if blocking:
        raise GateClosedError(
            f"licenses: {len(blocking)} of the production dependencies have a forbidden license",
            output="\n".join(blocking),
            hint=f"replace them, or list exceptions under `{ignores.LICENSES}` in {IGNORE_FILE}, with reason and date",
        )
    return [*ignores.unused(accepted, used), *ignores.expiring(accepted, today())]


def refused_packages(packages: Iterable[Package], accepted: set[str]) -> tuple[list[str], set[str]]:
    """Return the refused packages, one per line, and the ids of the ignores that were needed."""
    blocking, used = [], set()
    for package in packages:
        names = {package.name, f"{package.name}@{package.version}"} & accepted
        refused = refused_licenses(package.license, accepted=set())
        if not refused:
            continue
        if names:
            used |= names
        elif refused_licenses(package.license, accepted=accepted):
            blocking.append(str(package))
        else:
            used |= refused & accepted
    return sorted(set(blocking)), used


def refused_licenses(expression: str, *, accepted: set[str]) -> set[str]:
    """Return the licenses of an SPDX expression that are refused; of alternatives (OR), those of the best one."""
    try:
        parsed = _licensing().parse(expression, validate=True)
    except Exception:  # noqa: BLE001 - besides ExpressionError also IndexError for "()", AssertionError for "(AND x"
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
    """Return the parser of SPDX expressions, which is expensive to build."""
    from license_expression import get_spdx_licensing  # noqa: PLC0415

    return get_spdx_licensing()


def _is_allowed(spdx_id: str) -> bool:
    return _categories().get(spdx_id.removesuffix("+"), "") in ALLOWED and not spdx_id.startswith(STRONG)


@functools.cache
def _categories() -> dict[str, str]:
    """Return the category of each license by its SPDX ids, current and former ones, without LicenseRef ids."""
    from license_expression import get_license_index  # noqa: PLC0415 - only where licenses are checked

    return {
        name: str(known["category"])
        for known in get_license_index()
        for name in (known.get("spdx_license_key"), *known.get("other_spdx_license_keys", ()))
        if name and not name.startswith("LicenseRef-")
    }


def _license(package: dict[str, Any]) -> str:
    """Return the license of a package.json, in its current form or one of the deprecated ones."""
    value = package.get("license") or package.get("licenses") or ""
    options = value if isinstance(value, list) else [value]
    names = [str(option.get("type", "")) if isinstance(option, dict) else str(option) for option in options]
    return names[0] if len(names) == 1 else " OR ".join(f"({name})" for name in names)

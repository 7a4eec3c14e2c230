"""What Slipway needs of dagger-io beyond its public, typed interface. No other file imports a private part of it.

dagger-io builds its decorators from methods of an object, and its overloads of `function` omit `cache` (0.21.8), so
mypy gets declarations of its own. At run time everything here is dagger-io's.
"""

from typing import TYPE_CHECKING, Any, TypeVar, cast

import dagger
from dagger.mod._exceptions import FunctionError

F = TypeVar("F")

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import dataclass_transform

    def field(*, default: object = ..., init: bool = True) -> Any:  # noqa: ANN401 - as dataclasses.field
        """Declare a field that the API shows."""

    @dataclass_transform(kw_only_default=True, field_specifiers=(field,))
    def object_type(cls: type[F]) -> type[F]:
        """Declare an object of the API."""

    def function(func: F) -> F:
        """Declare a function of the API."""

    def interface(cls: type[F]) -> type[F]:
        """Declare an interface of the API."""

    check: Callable[[F], F]
else:
    from dagger import check, field, function, interface, object_type

__all__ = ["FunctionError", "check", "field", "function", "interface", "object_type", "uncached"]


def uncached(func: F) -> F:
    """Declare a function of the API that is never answered from cache, because it touches the world."""
    decorate: Any = dagger.function
    return cast("F", decorate(cache="never")(func))


def download_cli() -> str:
    """Download the Dagger CLI of the SDK's own version, once; return its path."""
    from dagger.provisioning._download import Downloader  # noqa: PLC0415 - only the launcher needs it

    return str(Downloader().get_sync())

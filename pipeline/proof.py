"""A deployment that was seen to work."""

from typing import Annotated

from dagger import Doc

from pipeline.schema import field, object_type


@object_type
class Proof:
    """A deployment whose smoke test passed. Made only by `smoke`."""

    release: Annotated[str, Doc("host/path@sha256:… of what was proven.")] = field()
    commit: Annotated[str, Doc("The commit it was built from.")] = field()
    environment: Annotated[str, Doc("Where it was proven.")] = field()
    at: Annotated[str, Doc("When, RFC 3339.")] = field()
    attempts: Annotated[int, Doc("How many attempts it took.")] = field()

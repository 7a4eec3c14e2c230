"""The names of environments."""

from pipeline.core.errors import InvalidInputError
from pipeline.oci.references import check_name

REHEARSAL = "rehearsal"
STAGING = "staging"
PRODUCTION = "production"


def check_environment(name: str) -> None:
    """Refuse a name that no environment in a cluster can have.

    Raises:
        InvalidInputError: if it does not have the form of a Kubernetes label, or means a rehearsal.
    """
    check_name("environment", name)
    if name == REHEARSAL:
        raise InvalidInputError(
            "a rehearsal has no cluster", hint="name another --environment, or give no --kubeconfig"
        )


def check_deployable(environment: str) -> None:
    """Refuse an environment that only a promotion may deploy to.

    Raises:
        InvalidInputError: if it is production.
    """
    if environment == PRODUCTION:
        raise InvalidInputError(
            f"deploy: {PRODUCTION} is reached by a promotion only",
            hint=f"deploy to {STAGING}, then: environment --name {STAGING} verification promote --to {PRODUCTION}",
        )

"""Gates that whoever calls may turn off, by name."""

import enum

from dagger import enum_type


@enum_type
class Gate(enum.Enum):
    """A check of the source that `--skip` turns off: it is told at the terminal and in the report."""

    SECRETS = "secrets"
    """The search for secrets."""

    LICENCES = "licences"
    """The policy for the licences of production dependencies."""

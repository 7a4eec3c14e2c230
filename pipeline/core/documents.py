"""Documents of somebody else's, which may have any form."""

from typing import Any


def mapping(value: object) -> dict[str, Any]:
    """Return it if it is an object, as JSON, YAML and TOML have them; else an empty one."""
    return value if isinstance(value, dict) else {}

"""Documents of other people, which may have any form."""

from typing import Any


def mapping(value: object) -> dict[str, Any]:
    """Return a value if it is an object of JSON, YAML or TOML; else an empty one."""
    return value if isinstance(value, dict) else {}


def load_yaml(text: str) -> list[Any]:
    """Return the documents of a YAML file.

    Raises:
        ValueError: in one line, if it is malformed. PyYAML itself raises errors of several types.
    """
    import yaml  # noqa: PLC0415 - few runs read YAML

    try:
        return list(yaml.safe_load_all(text))
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def as_list(value: object) -> list[Any]:
    """Return a value that must be a list.

    Raises:
        TypeError: if it is not.
    """
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} instead of a list")
    return value

"""Small Node programs that stages run in containers; each is read from this folder as text."""

from importlib import resources


def script(name: str) -> str:
    """Return the text of one program, such as `smoke.mjs`."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")

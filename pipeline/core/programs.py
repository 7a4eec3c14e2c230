"""Small programs that stages run in containers; each lies beside the module that runs it."""

from importlib import resources


def program(package: str, name: str) -> str:
    """Return the text of a program.

    Args:
        package: that it lies in, such as `pipeline.oci`.
        name: of the file, such as `registry.mjs`.
    """
    return resources.files(package).joinpath(name).read_text("utf-8")

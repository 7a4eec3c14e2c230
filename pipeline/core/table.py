"""Tables for the terminal and for Markdown."""

from collections.abc import Sequence


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return aligned columns, two spaces apart, without trailing space.

    Args:
        head: titles of the columns.
        rows: of as many cells each.
        right: indexes of the columns that are aligned to the right.
    """
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def aligned(line: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join(map(aligned, lines))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Return the lines of a Markdown table; no text can break out of its cell.

    Args:
        head: titles of the columns.
        rows: of as many cells each.
        right: indexes of the columns that are aligned to the right.
    """
    rule = "|".join("---:" if column in right else "---" for column in range(len(head)))
    lines = [" | ".join(map(markdown_cell, line)) for line in (head, *rows)]
    return [f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])]


def markdown_cell(text: str) -> str:
    """Return text that cannot break out of a table's cell or a heading."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")

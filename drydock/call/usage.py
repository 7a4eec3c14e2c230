"""`--help`, in the layout of `dagger call`."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

from drydock.call.flags import functions_of
from drydock.call.model import Argument, Function, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drydock.call.flags import Chain

OPTIONS = (
    ("  -y, --auto-apply", "Apply the changes where a Changeset is returned"),
    ("  -d, --debug", "Show the traceback of an error"),
    ("  -j, --json", "Present result as JSON"),
    ("  -o, --output string", "Save the result to a local file or directory"),
)
MAX_WIDTH = 100
MAX_LABEL = 40


def of_chain(chain: Chain, program: str, module_doc: str, *, bold: bool) -> str:
    """Return the help of the last function of a chain; titles are bold where a terminal shows it."""
    at_root = len(chain.steps) == 1
    functions = functions_of(chain.last.returns)
    words = [program, *(["[options]"] if at_root else chain.path)]
    words += ["[arguments]"] * bool(chain.last.arguments) + ["<function>"] * bool(functions)
    sections = {
        "Usage": ["  " + " ".join(words)],
        "Functions": table(functions.values()),
        "Arguments": _arguments(chain.last),
        "Options": _columns(OPTIONS) if at_root else [],
    }
    title = "\x1b[1m{}\x1b[0m" if bold else "{}"
    blocks = ["\n".join([title.format(name.upper()), *lines]) for name, lines in sections.items() if lines]
    doc = _paragraphs(module_doc or chain.last.doc if at_root else chain.last.doc)
    path = " ".join([program, *chain.path])
    more = f'Use "{path} [function] --help" for more information about a function.' if functions else ""
    return "\n\n".join(block for block in (doc, *blocks, more) if block) + "\n"


def table(functions: Iterable[Function]) -> list[str]:
    """Return the lines that list functions with their summaries."""
    return _columns([(f"  {function.name}", function.summary) for function in functions], minimum=13)


def _arguments(function: Function) -> list[str]:
    ordered = sorted(function.arguments, key=lambda argument: (not argument.required, argument.flag))
    return _columns([(f"      --{a.flag} {a.type.label}".rstrip(), _describe(a)) for a in ordered])


def _describe(argument: Argument) -> str:
    """Return an argument's documentation, and what happens where it is left out."""
    if argument.required:
        omitted = "[required]"
    elif argument.default_path:
        omitted = f'(default path "{argument.default_path}")'
    elif argument.default_address:
        omitted = f'(default "{argument.default_address}")'
    elif argument.default in (None, "", [], False):
        omitted = ""
    else:
        omitted = f"(default {_shown(argument, argument.default)})"
    return " ".join(part for part in (" ".join(argument.doc.split()), omitted) if part)


def _shown(argument: Argument, value: Any) -> str:  # noqa: ANN401 - a default of any type
    if argument.type.kind is Kind.ENUM:
        return str(getattr(value, "name", value))
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _columns(rows: Iterable[tuple[str, str]], minimum: int = 0) -> list[str]:
    """Return rows of a label and a text, the texts wrapped below each other."""
    rows = list(rows)
    indent = min(max([minimum, *(len(label) for label, _ in rows)]), MAX_LABEL) + 3
    lines = []
    for label, text in rows:
        head = label
        first, *more = textwrap.wrap(text, max(width() - indent, 20), break_on_hyphens=False) or [""]
        if len(label) + 3 > indent:
            lines.append(label)
            head = ""
        lines.append(f"{head:<{indent}}{first}".rstrip())
        lines.extend(" " * indent + line for line in more)
    return lines


def _paragraphs(doc: str) -> str:
    """Return a docstring wrapped to the terminal; indented paragraphs stay as they are."""
    kept = (part if part.startswith(" ") else textwrap.fill(part, width()) for part in doc.strip("\n").split("\n\n"))
    return "\n\n".join(kept)


def width() -> int:
    """Return how wide text may be."""
    return min(shutil.get_terminal_size().columns, MAX_WIDTH)

"""The commands that README and docs show: which there are, and how they are run."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = re.compile(r"^# needs an account: (\w.*)$", re.MULTILINE)
# What a sentence quotes whole. Other quoted code is a part of a command, or output.
QUOTED = re.compile(r"(?<!`)`((?:dagger|\./ship|\./test|python -m drydock|git|gh) [^`]+)`(?!`)")


@dataclasses.dataclass(frozen=True)
class Script:
    """A paragraph of a shell block, or a command that a sentence quotes.

    Args:
        page: where it is shown.
        text: as shown, without comments.
        account: what it needs an account for, or empty.
        quoted: whether it is part of a sentence.
    """

    page: str
    text: str
    account: str = ""
    quoted: bool = False

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """The simple commands, also those within $(…), without assignments and redirections."""
        lexer = shlex.shlex(self.text.replace("\\\n", " ").replace("\n", " ; "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = ""
        found: list[tuple[str, ...]] = []
        command: list[str] = []
        redirected = False
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;()<>"):
                found += [tuple(command)] if command else []
                command, redirected = [], word.startswith((">", "<"))
            elif redirected:
                redirected = False
            elif command or not re.fullmatch(r"\w+=.*", word, re.DOTALL):
                command.append(word)
        return found


def scripts_in(page: str, text: str) -> Iterator[Script]:
    """Yield what a page shows."""
    for indent, block in re.findall(r"^( *)```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        for paragraph in re.split(r"\n\s*\n", re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)):
            account = ACCOUNT.search(paragraph)
            code = re.sub(r"(^|\s)#\s.*$", "", paragraph, flags=re.MULTILINE).strip()
            yield Script(page, code, account[1] if account else "")
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for quoted in QUOTED.findall(prose):
        yield Script(page, " ".join(quoted.split()), quoted=True)


def every_script() -> list[Script]:
    """Return what all pages show."""
    pages = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
    return [script for page in pages for script in scripts_in(str(page.relative_to(ROOT)), page.read_text())]


def runnable() -> list[Script]:
    """Return the paragraphs that can be run anywhere: calls of the module, without an account."""
    return [
        script
        for script in every_script()
        if not script.account and not script.quoted and any(words[0] == "dagger" for words in script.commands)
    ]

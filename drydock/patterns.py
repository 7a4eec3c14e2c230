"""Include, exclude and .gitignore rules.

Include and exclude patterns are those of Docker's ignore files, as in Dagger: relative to the directory, `*` stays
within one name, `**` spans names, a pattern that matches a directory holds for all below it, and `!` takes matches
back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def translate(pattern: str) -> str:
    """Return the regular expression (for `fullmatch`) of a glob with `*`, `**`, `?`, `[…]` and backslash escapes."""
    out: list[str] = []
    i = 0
    while i < len(pattern):
        if pattern.startswith("**/", i):
            out.append("(?:.*/)?")
            i += 3
        elif pattern.startswith("**", i):
            out.append(".*")
            i += 2
        elif pattern[i] == "*":
            out.append("[^/]*")
            i += 1
        elif pattern[i] == "?":
            out.append("[^/]")
            i += 1
        elif pattern[i] == "[" and (end := pattern.find("]", i + 2)) > 0:
            members = pattern[i + 1 : end].replace("\\", r"\\")
            out.append(f"[^{members[1:]}]" if members[0] in "!^" else f"[{members}]")
            i = end + 1
        elif pattern[i] == "\\" and i + 1 < len(pattern):
            out.append(re.escape(pattern[i + 1]))
            i += 2
        else:
            out.append(re.escape(pattern[i]))
            i += 1
    return "".join(out)


def parents(path: str) -> Iterator[str]:
    """Yield a relative path and the directories above it, deepest first."""
    while path:
        yield path
        path = path.rpartition("/")[0]


class Patterns:
    """A list of include or exclude patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for pattern in patterns:
            text = pattern.strip()
            keep = not text.startswith("!")
            text = _clean(text.removeprefix("!"))
            self._rules.append((keep, re.compile(translate(text), re.DOTALL)))
        self.can_take_back = any(not keep for keep, _ in self._rules)

    def __bool__(self) -> bool:
        """Say whether there are patterns at all."""
        return bool(self._rules)

    def match(self, path: str) -> bool:
        """Say whether a relative path, or a directory above it, is meant."""
        matched = False
        for keep, rule in self._rules:
            if matched != keep and any(rule.fullmatch(part) for part in parents(path)):
                matched = keep
        return matched

    def match_itself(self, path: str) -> bool:
        """Say whether a relative path is meant by its own name."""
        return any(keep and rule.fullmatch(path) for keep, rule in self._rules)


def _clean(pattern: str) -> str:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    return "/".join(parts) or "**"


@dataclass(frozen=True)
class IgnoreRule:
    """One line of a .gitignore file that stands in the directory `base`."""

    base: str
    rule: re.Pattern[str]
    directories_only: bool
    negated: bool
    above: str = ""
    """For a file above the tree: the way down from there to the tree."""

    def match(self, path: str, *, is_dir: bool) -> bool:
        """Say whether this line speaks of a path."""
        if self.directories_only and not is_dir:
            return False
        path = f"{self.above}/{path}" if self.above else path
        if self.base and not path.startswith(f"{self.base}/"):
            return False
        return self.rule.fullmatch(path[len(self.base) + 1 :] if self.base else path) is not None


def parse_gitignore(text: str, base: str = "", above: str = "") -> list[IgnoreRule]:
    """Read a .gitignore file; `base` is its directory, relative to the tree (or, with `above`, to what is above it)."""
    rules: list[IgnoreRule] = []
    for raw in text.splitlines():
        line = re.sub(r"(?<!\\)\s+$", "", raw)
        if not line or line.startswith("#"):
            continue
        negated = line.startswith("!")
        line = line.removeprefix("!")
        directories_only = line.endswith("/")
        line = line.rstrip("/")
        anchored = "/" in line
        body = translate(line.lstrip("/"))
        rule = re.compile(body if anchored else f"(?:.*/)?{body}", re.DOTALL)
        rules.append(IgnoreRule(base, rule, directories_only, negated, above))
    return rules


def ignored(rules: Sequence[IgnoreRule], path: str, *, is_dir: bool) -> bool:
    """Say whether git would ignore a path whose directory is not ignored: the last line that speaks of it decides."""
    for rule in reversed(rules):
        if rule.match(path, is_dir=is_dir):
            return not rule.negated
    return False

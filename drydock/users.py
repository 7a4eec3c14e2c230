"""Who a command runs as: names and numbers, looked up in the container's own /etc/passwd and /etc/group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drydock.errors import SandboxError
from drydock.tree import resolve


@dataclass(frozen=True)
class User:
    """Numeric identity and home directory of a command."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def _table(root: str, path: str) -> list[list[str]]:
    try:
        text = Path(resolve(root, path)).read_text("utf-8", "replace")
    except OSError:
        return []
    return [line.split(":") for line in text.splitlines() if ":" in line]


def look_up(root: str, user: str) -> User:
    """Return the identity that `user` means: "", "name", "uid", each with ":group" or ":gid" after it.

    A number need not stand in /etc/passwd; a name must.
    """
    name, _, group = user.partition(":")
    name = name or "0"
    entry = next((e for e in _table(root, "/etc/passwd") if len(e) > 5 and name in (e[0], e[2])), None)  # noqa: PLR2004
    if entry:
        uid, gid, home = int(entry[2]), int(entry[3]), entry[5] or "/"
    elif name.isdecimal():
        uid, gid, home = int(name), 0, "/root" if name == "0" else "/"
    else:
        raise SandboxError(f"user {name!r} is not in the container's /etc/passwd; add it, or use a number")
    if group:
        return User(uid, group_id(root, group), (), home)
    members = [e for e in _table(root, "/etc/group") if len(e) > 3 and entry]  # noqa: PLR2004
    groups = {int(e[2]) for e in members if entry and entry[0] in e[3].split(",")}
    return User(uid, gid, tuple(sorted(groups | {gid})), home)


def group_id(root: str, group: str) -> int:
    """Return the number of a group, given by name or number."""
    if group.isdecimal():
        return int(group)
    for entry in _table(root, "/etc/group"):
        if entry[0] == group and len(entry) > 2:  # noqa: PLR2004
            return int(entry[2])
    raise SandboxError(f"group {group!r} is not in the container's /etc/group; add it, or use a number")


def owner_of(root: str, owner: str) -> tuple[int, int]:
    """Return the numbers of an owner `user[:group]`; without a group, it is the same number as the user."""
    user, _, group = owner.partition(":")
    found = look_up(root, user)
    if group:
        return found.uid, group_id(root, group)
    return found.uid, found.uid

"""The few system calls that Python 3.11 lacks: mount, umount2, unshare, setns, prctl.

Standard library only and no imports from this package: the sandbox's init loads it in a bare interpreter.
"""

from __future__ import annotations

import ctypes
import os

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MNT_DETACH = 0x2
CLONE_NEWNS = 0x20000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount something, as the system call does."""
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        os.fsencode(options) or None,
    )
    _check(result, f"mount {kind or 'bind'} on {target}")


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Make a file or directory visible at a second place."""
    mount(source, target, "", MS_BIND | MS_REC)
    if read_only:
        mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def umount(target: str) -> None:
    """Take a mount away, also while it is in use."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def unshare(flags: int) -> None:
    """Leave namespaces for new ones, as the system call does."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int = 0) -> None:
    """Enter a namespace, as the system call does."""
    _check(_libc.setns(fd, kind), "setns")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make a directory the root, and show the old one at `put_old`."""
    _check(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), f"pivot_root {new_root}")


def prctl(option: int, argument: int) -> None:
    """Change a property of this process, as the system call does."""
    _check(_libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0), f"prctl {option}")


def sethostname(name: str) -> None:
    """Name the machine, within its UTS namespace."""
    text = name.encode()
    _check(_libc.sethostname(text, ctypes.c_size_t(len(text))), "sethostname")


def overlay_options(lower: list[str], upper: str = "", work: str = "") -> str:
    """Return overlayfs options: the topmost lower layer first; without an upper the mount is read-only.

    Renames and attribute changes are written in full (`redirect_dir=off,metacopy=off`), so that an upper directory is
    a layer by itself.
    """
    options = [f"lowerdir={':'.join(lower)}"]
    if upper:
        options += [f"upperdir={upper}", f"workdir={work}"]
    return ",".join([*options, "redirect_dir=off", "metacopy=off", "index=off", "xino=off"])


def private_namespace() -> None:
    """Give this process mounts of its own: nothing it mounts is seen outside, and all of it ends with the process.

    Must run before any thread starts.
    """
    unshare(CLONE_NEWNS)
    mount("", "/", "", MS_REC | MS_SLAVE)

"""Runs one command in a root file system of its own; started by `sandbox.py` in a bare interpreter (`python -I -S`).

Two processes: the outer one makes the namespaces and waits; the inner one is process 1 in there, mounts, starts the
command and reaps. Both die with their parent, so nothing survives an engine that is killed.

The specification (marshalled, made by `prepare` in sandbox.py) is read from the file descriptor given as the first
argument, since it may hold secrets; what went wrong before the command started is written to the second as text.
"""

from __future__ import annotations

# Not `signal`, which imports enum, and not json, which imports re: together they are as slow as all the rest.
import _signal as signal  # type: ignore[import-not-found]
import marshal
import os
import stat
import sys

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
import mounts  # type: ignore[import-not-found] # by its place, not its package: no site-packages here

sys.path.clear()  # nothing is imported from the container's files

TYPE_CHECKING = False  # the typing module takes longer to import than a command takes to start
if TYPE_CHECKING:
    from typing import Any, NoReturn

NOT_STARTED = 125
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LAST_CAPABILITY_FILE = "/proc/sys/kernel/cap_last_cap"
# Docker's default set: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw,
# sys_chroot, mknod, audit_write, setfcap.
KEPT_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}


def main() -> None:
    """Make the namespaces, run process 1 in them, and end as the command ended."""
    spec_fd, report_fd = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(int(sys.argv[3]))
    with os.fdopen(spec_fd, "rb") as handle:
        spec: dict[str, Any] = marshal.loads(handle.read())  # noqa: S302 - the engine wrote it
    with open(LAST_CAPABILITY_FILE, encoding="utf-8") as handle:
        spec["last_capability"] = int(handle.read())
    try:
        if spec["netns"]:
            with open(spec["netns"], "rb") as namespace:
                mounts.setns(namespace.fileno(), mounts.CLONE_NEWNET)
        mounts.unshare(mounts.CLONE_NEWNS | mounts.CLONE_NEWUTS | mounts.CLONE_NEWIPC | mounts.CLONE_NEWPID)
    except OSError as error:
        fail(report_fd, str(error))
    child = os.fork()
    if child == 0:
        inner(spec, report_fd)
    os.close(report_fd)
    close_standard_streams()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    os._exit(exit_code(os.waitpid(child, 0)[1]))


def close_standard_streams() -> None:
    """Let go of the pipes, so that the engine sees their end when the command closes them."""
    for fd in (0, 1, 2):
        os.close(fd)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process with its parent, who may be gone already."""
    mounts.prctl(mounts.PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        os._exit(NOT_STARTED)


def exit_code(status: int) -> int:
    """Return a wait status as a shell would: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def fail(report_fd: int, message: str) -> NoReturn:
    """Report why the command could not be started."""
    os.write(report_fd, message.encode("utf-8", "replace"))
    os._exit(NOT_STARTED)


def inner(spec: dict[str, Any], report_fd: int) -> NoReturn:
    """Process 1: mount everything, start the command, reap until it ends."""
    die_with_parent(0)
    try:
        enter_root(spec)
        os.umask(0o022)
        os.chdir(enter_workdir(spec))
    except OSError as error:
        fail(report_fd, str(error))
    os.set_inheritable(report_fd, False)  # noqa: FBT003 - closed by a successful exec
    if spec["no_init"] and not (spec["redirect_stdout"] or spec["redirect_stderr"]):
        start(spec, report_fd)
    child = os.fork()
    if child == 0:
        os.setsid()
        start(spec, report_fd)
    os.close(report_fd)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    while True:
        pid, status = os.wait()
        if pid == child:
            replay(spec["redirect_stdout"], 1)
            replay(spec["redirect_stderr"], 2)
            os._exit(exit_code(status))


def start(spec: dict[str, Any], report_fd: int) -> NoReturn:
    """Become the command, as its user."""
    try:
        redirect(spec["redirect_stdin"], 0, os.O_RDONLY)
        redirect(spec["redirect_stdout"], 1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        redirect(spec["redirect_stderr"], 2, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    except OSError as error:
        fail(report_fd, f"redirect: {error}")
    try:
        if not spec["all_capabilities"]:
            drop_capabilities(spec["last_capability"])
        os.setgroups(spec["groups"])
        os.setgid(spec["gid"])
        os.setuid(spec["uid"])
        execute(spec["args"], spec["env"])
    except FileNotFoundError:
        fail(report_fd, f"not-found {spec['args'][0]}")
    except PermissionError:
        fail(report_fd, f"not-executable {spec['args'][0]}")
    except OSError as error:
        fail(report_fd, f"{spec['args'][0]}: {error}")


def execute(args: list[str], env: dict[str, str]) -> NoReturn:
    """Become the command, looked up in its own PATH. (os.execvpe imports modules, and there are none in here.)."""
    if "/" in args[0]:
        os.execve(args[0], args, env)
    denied = False
    for folder in env["PATH"].split(":"):
        try:
            os.execve(f"{folder or '.'}/{args[0]}", args, env)
        except PermissionError:
            denied = True
        except (FileNotFoundError, NotADirectoryError):
            continue
    raise PermissionError if denied else FileNotFoundError


def redirect(path: str, fd: int, flags: int) -> None:
    """Let a standard stream be a file of the container."""
    if path:
        file = os.open(path, flags, 0o644)
        os.dup2(file, fd)
        os.close(file)


def replay(path: str, fd: int) -> None:
    """Give the engine what a redirected stream held: stdout and stderr are known also then."""
    if path:
        with open(path, "rb") as handle, os.fdopen(fd, "wb") as stream:
            stream.write(handle.read())


def drop_capabilities(last: int) -> None:
    """Drop what Docker drops; for root too, since the bounding set limits what an exec can gain."""
    for capability in range(last + 1):
        if capability not in KEPT_CAPABILITIES:
            mounts.prctl(mounts.PR_CAPBSET_DROP, capability)


def enter_root(spec: dict[str, Any]) -> None:
    """Mount the root file system and all that belongs in it, and make it the root."""
    root = spec["root"]
    mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE)
    os.chdir(spec["layers"])
    mounts.mount("overlay", root, "overlay", 0, spec["overlay"])
    for entry in spec["overlays"]:
        mounts.mount("overlay", entry["point"], "overlay", 0, entry["options"])
    mount_system(root)
    for entry in spec["mounts"]:
        attach(root, entry)
    os.chdir(root)
    mounts.pivot_root(".", ".")
    mounts.umount(".")
    os.chdir("/")
    mounts.sethostname(spec["hostname"])


def mount_system(root: str) -> None:
    """Mount /proc, /dev and a read-only /sys."""
    plain = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    mounts.mount("proc", f"{root}/proc", "proc", plain)
    mounts.mount("sysfs", f"{root}/sys", "sysfs", plain | mounts.MS_RDONLY)
    dev = f"{root}/dev"
    mounts.mount("tmpfs", dev, "tmpfs", mounts.MS_NOSUID, "mode=755,size=65536k")
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"{dev}/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
        os.chmod(f"{dev}/{name}", 0o666)  # noqa: S103 - as on every Linux
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{dev}/{name}")
    os.mkdir(f"{dev}/pts")
    mounts.mount("devpts", f"{dev}/pts", "devpts", mounts.MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620")
    os.symlink("pts/ptmx", f"{dev}/ptmx")
    os.mkdir(f"{dev}/shm")
    mounts.mount("shm", f"{dev}/shm", "tmpfs", plain, "mode=1777,size=65536k")


def attach(root: str, entry: dict[str, Any]) -> None:
    """Mount one thing at its place: a bind of a file or directory, a tmpfs, or a secret."""
    target = root + entry["target"]
    if not os.path.lexists(target):  # inside another mount; elsewhere the engine has made a place for it
        make_place(target, directory=entry["directory"])
    if entry["kind"] == "tmpfs":
        mounts.mount("tmpfs", target, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, entry["options"])
    elif entry["kind"] == "secret":
        mount_secret(target, entry)
    else:
        mounts.bind(entry["source"], target, read_only=entry["read_only"])


def make_place(target: str, *, directory: bool) -> None:
    """Make what a mount needs to stand on."""
    os.makedirs(target if directory else os.path.dirname(target), 0o755, exist_ok=True)
    if not directory:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))


def mount_secret(target: str, entry: dict[str, Any]) -> None:
    """Show a secret as a file that is in memory only."""
    holder = entry["source"]
    mounts.mount("tmpfs", holder, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=700")
    path = f"{holder}/secret"
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as handle:
        handle.write(entry["contents"])
    os.chown(path, entry["uid"], entry["gid"])
    os.chmod(path, entry["mode"])
    mounts.bind(path, target)


def enter_workdir(spec: dict[str, Any]) -> str:
    """Return the working directory; make it, as the command's user, where it is missing."""
    path: str = spec["workdir"]
    missing = []
    here = path
    while not os.path.isdir(here):
        missing.append(here)
        here = os.path.dirname(here)
    for part in reversed(missing):
        os.mkdir(part, 0o755)
        os.chown(part, spec["uid"], spec["gid"])
    return path


if __name__ == "__main__":
    main()

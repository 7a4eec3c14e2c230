"""Running a process in a root file system: what is mounted where, the process, and what it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock import mounts
from drydock.edit import seed_upper, settle, squashed
from drydock.errors import SandboxError
from drydock.process import BindMount, Mount, Process, SecretMount, TempMount, TreeMount
from drydock.tree import FileRef, Tree, inside, resolve, view
from drydock.users import look_up, owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drydock.store import Store

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
INIT = Path(__file__).with_name("_init.py")
SYSTEM_PLACES = ("/proc", "/sys", "/dev")
NOT_STARTED = 1
"""Exit code of a command that is not there, as on the Dagger Engine."""


@dataclass
class Overlay:
    """A tree made writable for one process: what is below, and the layer it writes."""

    tree: Tree
    upper: Path
    work: Path
    point: Path
    top: Path | None
    places: Path

    @property
    def options(self) -> str:
        """Mount options; the engine's own files on top, places to mount on at the bottom."""
        lower = [str(self.top)] if self.top else []
        return mounts.overlay_options(
            [*lower, *reversed(self.tree.layers), str(self.places)], str(self.upper), str(self.work)
        )


@dataclass
class Sandbox:
    """A process made ready to start."""

    store: Store
    process: Process
    root: Overlay
    trees: dict[str, Overlay] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)

    async def start(self, *, output: int = asyncio.subprocess.PIPE) -> tuple[asyncio.subprocess.Process, int]:
        """Start the process; returns it and a descriptor that tells, at its end, why it could not start."""
        spec_fd = os.memfd_create("spec")
        os.write(spec_fd, marshal.dumps(self.spec))
        os.lseek(spec_fd, 0, os.SEEK_SET)
        report, report_in = os.pipe()
        stdin = asyncio.subprocess.PIPE if self.process.stdin else asyncio.subprocess.DEVNULL
        command = [sys.executable, "-I", "-S", "-B", str(INIT), str(spec_fd), str(report_in), str(os.getpid())]
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=stdin, stdout=output, stderr=output, pass_fds=(spec_fd, report_in), env={}
            )
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(spec_fd)
            os.close(report_in)
        return process, report

    def discard(self) -> None:
        """Remove what the process used. Runs in a worker thread."""
        for overlay in (self.root, *self.trees.values()):
            for path in (overlay.upper, overlay.work, overlay.point, overlay.places, overlay.top):
                if path:
                    shutil.rmtree(path, ignore_errors=True)


def prepare(store: Store, root: Tree, process: Process) -> Sandbox:
    """Lay out file systems for a process. Runs in a worker thread."""
    with view(store, root) as seen:
        overlay = _overlay(store, root, seen, top=_own_files(store, seen))
        sandbox = Sandbox(store, process, overlay)
        user = look_up(seen, process.user)
        entries = []
        for mount in sorted(process.mounts, key=lambda m: m.target.count("/")):
            target = inside(seen, resolve(seen, mount.target))
            entries.append(_entry(sandbox, mount, target, seen))
        for target, directory in [
            *((p, True) for p in SYSTEM_PLACES),
            *((e["target"], e["directory"]) for e in entries),
        ]:
            _make_place(sandbox, seen, target, directory=directory)
    env = dict(process.env)
    env.setdefault("PATH", DEFAULT_PATH)
    env.setdefault("HOME", user.home)
    sandbox.spec = {
        "args": list(process.args),
        "env": env,
        "uid": user.uid,
        "gid": user.gid,
        "groups": user.groups,
        "workdir": process.workdir,
        "no_init": process.no_init,
        "all_capabilities": process.all_capabilities,
        "redirect_stdin": process.redirect_stdin,
        "redirect_stdout": process.redirect_stdout,
        "redirect_stderr": process.redirect_stderr,
        "netns": process.netns,
        "hostname": process.hostname,
        "layers": str(store.layers),
        "root": str(overlay.point),
        "overlay": overlay.options,
        "overlays": [{"point": str(o.point), "options": o.options} for o in sandbox.trees.values()],
        "mounts": entries,
    }
    return sandbox


def _overlay(store: Store, tree: Tree, seen: str, top: Path | None = None) -> Overlay:
    upper = store.temporary("upper")
    seed_upper(upper, seen)
    return Overlay(tree, upper, store.temporary("work"), store.temporary("root"), top, store.temporary("places"))


def _own_files(store: Store, seen: str) -> Path | None:
    """Return a layer with the host's certificate authorities, to lie on top of the image's files during a command.

    As a layer, and not as a mount, so that a package manager can replace the file. Directories look like the image's.
    """
    if not os.path.exists(CA_BUNDLE):
        return None
    top = store.temporary("own")
    seed_upper(top, seen)
    real = inside(seen, resolve(seen, CA_BUNDLE))
    here, below = top, seen
    for part in Path(real).parts[1:-1]:
        here, below = here / part, f"{below}/{part}"
        here.mkdir(mode=0o755)
        if os.path.isdir(below):
            seed_upper(here, below)
    shutil.copyfile(CA_BUNDLE, here / Path(real).name)
    return top


def _entry(sandbox: Sandbox, mount: Mount, target: str, seen: str) -> dict[str, Any]:
    store = sandbox.store
    match mount:
        case TreeMount(source=source):
            tree = source.tree if isinstance(source, FileRef) else source
            with view(store, tree) as below:
                overlay = sandbox.trees[mount.target] = _overlay(store, tree, below)
            path = f"{overlay.point}{source.path}".rstrip("/")
            return {
                "kind": "bind",
                "target": target,
                "source": path,
                "read_only": mount.read_only,
                "directory": isinstance(source, Tree),
            }
        case BindMount():
            directory = os.path.isdir(mount.source)
            return {
                "kind": "bind",
                "target": target,
                "source": mount.source,
                "read_only": mount.read_only,
                "directory": directory,
            }
        case TempMount():
            options = f"mode=1777,size={mount.size}" if mount.size else "mode=1777"
            return {"kind": "tmpfs", "target": target, "options": options, "directory": True}
        case SecretMount():
            uid, gid = owner_of(seen, mount.owner or "0:0")
            return {
                "kind": "secret",
                "target": target,
                "source": str(store.temporary("secret")),
                "contents": mount.contents,
                "uid": uid,
                "gid": gid,
                "mode": mount.mode,
                "directory": False,
            }


def _make_place(sandbox: Sandbox, seen: str, target: str, *, directory: bool) -> None:
    """Make something to mount on, in the lowest layer, where the image has nothing: it never enters a layer of ours."""
    if os.path.lexists(seen + target):
        return
    sandbox.places.append(target)
    place = Path(f"{sandbox.root.places}{target}")
    with contextlib.suppress(FileExistsError, NotADirectoryError):
        (place if directory else place.parent).mkdir(parents=True, exist_ok=True)
        if not directory:
            place.touch()


@dataclass(frozen=True)
class Output:
    """What a command said, and how it ended."""

    exit_code: int
    stdout: str
    stderr: str
    combined: str


async def run(sandbox: Sandbox, scrub: Callable[[str], str], log: Callable[[str], None]) -> Output:
    """Run a prepared process to its end; killed with all it started when the caller is cancelled.

    Raises
    ------
    SandboxError
        The process could not be set up.
    """
    process, report = await sandbox.start()
    out: list[bytes] = []
    err: list[bytes] = []
    both: list[bytes] = []

    async def read(stream: asyncio.StreamReader, own: list[bytes]) -> None:
        rest = b""  # the log gets whole lines, lest a secret be cut in two
        while chunk := await stream.read(65536):
            own.append(chunk)
            both.append(chunk)
            whole, _, rest = (rest + chunk).rpartition(b"\n")
            log(scrub(f"{whole.decode('utf-8', 'replace')}\n") if whole else "")
        log(scrub(rest.decode("utf-8", "replace")))

    async def feed(stream: asyncio.StreamWriter) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stream.write(sandbox.process.stdin.encode("utf-8", "surrogateescape"))
            await stream.drain()
        stream.close()

    tasks = [read(s, b) for s, b in ((process.stdout, out), (process.stderr, err)) if s]
    if process.stdin:
        tasks.append(feed(process.stdin))
    try:
        await asyncio.gather(*tasks, process.wait())
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
        os.close(report)
        raise
    with os.fdopen(report, "rb") as handle:
        failure = handle.read().decode()
    texts = [scrub(b"".join(part).decode("utf-8", "replace")) for part in (out, err, both)]
    if failure:
        reason = why_not_started(failure, sandbox.process.args)
        return Output(NOT_STARTED, texts[0], texts[1] + reason, texts[2] + reason)
    return Output(process.returncode or 0, *texts)


def why_not_started(failure: str, args: Sequence[str]) -> str:
    """Return what a command that does not exist, or may not be executed, says; as the Dagger Engine's init says it.

    Raises
    ------
    SandboxError
        The process could not be set up.
    """
    kind, _, what = failure.partition(" ")
    if kind == "not-found":
        return f'exec: "{what}": executable file not found in $PATH\n'
    if kind == "not-executable":
        return f'exec: "{what}": permission denied\n'
    raise SandboxError(f"cannot start {' '.join(args)!r}: {failure}")


def leavings(sandbox: Sandbox) -> dict[str, Path | None]:
    """Return what a process wrote: the layer of the root ("" is its name) and of each mounted tree, None if unchanged.

    Runs in a worker thread, when the process is gone.
    """
    found: dict[str, Path | None] = {}
    for name, overlay in (("", sandbox.root), *sandbox.trees.items()):
        with view(sandbox.store, overlay.tree) as below:
            if not name:
                _forget_places(sandbox, below)
            root_changed = _attributes(overlay.upper) != _attributes(Path(below))
            found[name] = overlay.upper if settle(str(overlay.upper), below) or root_changed else None
    return found


def _attributes(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return info.st_mode, info.st_uid, info.st_gid


def _forget_places(sandbox: Sandbox, below: str) -> None:
    """Remove empty places to mount on, should one have come into the layer after all."""
    for target in reversed(sandbox.places):
        path = Path(f"{sandbox.root.upper}{target}")
        with contextlib.suppress(OSError):
            if os.path.lexists(below + target):
                continue
            if path.is_dir():
                path.rmdir()
            elif path.stat().st_size == 0:
                path.unlink()


async def few_layers(store: Store, process: Process) -> Process:
    """Return the process with the layers of its mounted trees few enough for overlayfs."""
    ready: list[Mount] = []
    for mount in process.mounts:
        if isinstance(mount, TreeMount):
            source = mount.source
            if isinstance(source, FileRef):
                source = replace(source, tree=await squashed(store, source.tree))
            else:
                source = await squashed(store, source)
            ready.append(replace(mount, source=source))
        else:
            ready.append(mount)
    return replace(process, mounts=tuple(ready))

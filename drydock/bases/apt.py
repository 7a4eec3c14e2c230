"""Debian packages into a tree, by the host's apt: its mirrors, proxies, credentials and certificates are used.

apt downloads on the host and runs only dpkg inside the tree, so the tree needs neither DNS nor certificates.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.bases import tools
from drydock.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST_APT = Path("/etc/apt")
# Of the host's apt settings only how to fetch; what to index (desktop catalogues and the like) is not wanted here.
_NOT_ABOUT_FETCHING = ("Acquire::IndexTargets", "Acquire::cdrom", "Acquire::Changelogs", "Acquire::Languages")
_ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?\S+\s+(?P<suite>\S+)")


def codename() -> str:
    """Return the code name of the host's Debian, such as `bookworm`."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise ImageError("/etc/os-release has no VERSION_CODENAME: base images are made only on Debian")


def debian_entries(text: str, suite: str) -> str:
    """Return the entries of an apt source file that are of the Debian release `suite`.

    Both forms are known: one entry per line, and stanzas of fields. Other entries (a vendor's, a disabled one) are
    left out, so that a broken one of them breaks nothing here.
    """
    wanted = {suite, f"{suite}-updates", f"{suite}-security", f"{suite}/updates"}
    if re.search(r"^Suites:", text, re.MULTILINE):
        stanzas = [stanza for stanza in re.split(r"\n\s*\n", text) if _stanza_is_of(stanza, wanted)]
        return "".join(stanza.strip("\n") + "\n\n" for stanza in stanzas)
    lines = [line for line in text.splitlines() if (m := _ONE_LINE.match(line.strip())) and m["suite"] in wanted]
    return "".join(line + "\n" for line in lines)


def _stanza_is_of(stanza: str, wanted: set[str]) -> bool:
    fields = dict(re.findall(r"^([A-Za-z-]+):\s*(.*)$", stanza, re.MULTILINE))
    enabled = fields.get("Enabled", "yes").strip().lower() not in {"no", "false"}
    return enabled and "deb" in fields.get("Types", "").split() and bool(wanted & set(fields.get("Suites", "").split()))


def write_sources(folder: Path, suite: str) -> list[Path]:
    """Copy the host's Debian sources into `folder`, and return the files."""
    written = []
    parts = HOST_APT / "sources.list.d"
    for source in [HOST_APT / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]:
        entries = debian_entries(source.read_text(), suite) if source.is_file() else ""
        if entries:
            copy = folder / source.name
            copy.write_text(entries)
            written.append(copy)
    if not written:
        raise ImageError(f"no apt source for Debian {suite} in {HOST_APT}: base images cannot be made from packages")
    return written


def entries_of_release(text: str, own: str, suite: str) -> str:
    """Return the entries of the host's own release `own`, as they would be for the release `suite`.

    Updates and security fixes are in archives of their own, which not every release has: they are left out.
    """
    stanzas = re.search(r"^Suites:", text, re.MULTILINE)
    entries = debian_entries(text, own).split("\n\n" if stanzas else "\n")
    form = re.compile(
        rf"^(Suites:.*?\s){own}(?![\w/-]).*$" if stanzas else rf"^(deb\s+(?:\[[^\]]*\]\s+)?\S+\s+){own}(?=\s)",
        re.MULTILINE,
    )
    kept = [form.sub(rf"\g<1>{suite}", entry) for entry in entries if form.search(entry)]
    return "".join(entry + ("\n\n" if stanzas else "\n") for entry in kept)


def download(package: str, suite: str, folder: Path) -> Path:
    """Download a package of another Debian release from the host's mirrors into `folder`; apt checks its signature.

    Raises:
        ImageError: with apt's own words.
    """
    tools.require("apt-get", "apt")
    own, doing = codename(), f"downloading {package} of Debian {suite}"
    (folder / "sources").mkdir()
    (folder / "lists").mkdir()
    for source in write_sources(folder / "sources", own):
        source.write_text(entries_of_release(source.read_text(), own, suite))
    settings = folder / "apt.conf"
    settings.write_text(configuration(Path("/"), folder, [*fetch_settings(), f'Dir::Cache "{folder}"']))
    env = os.environ | {"APT_CONFIG": str(settings), "LC_ALL": "C.UTF-8"}
    tools.run(["apt-get", "--quiet", "update", "--error-on=any"], doing=doing, env=env)
    # apt writes into the folder it is in.
    argv = ["env", f"--chdir={folder}", "apt-get", "--quiet", "download", f"{package}/{suite}"]
    tools.run(argv, doing=doing, env=env)
    return next(folder.glob(f"{package}_*.deb"))


def fetch_settings() -> list[str]:
    """Return the host's apt settings about fetching (proxies, certificates, checks), one `Name "value"` each."""
    form = '--format=%F "%v"%n'
    dump = tools.run(["apt-config", "dump", "--no-empty", form, "Acquire"], doing="reading apt's settings")
    settings = [line for line in dump.splitlines() if not line.startswith(_NOT_ABOUT_FETCHING)]
    credentials = [f'Dir::Etc::netrc "{HOST_APT}/auth.conf"', f'Dir::Etc::netrcparts "{HOST_APT}/auth.conf.d"']
    return [*settings, *credentials, 'Acquire::Languages "none"']


def configuration(root: Path, scratch: Path, settings: Sequence[str]) -> str:
    """Return the apt configuration that works on the tree `root` with the host's sources."""
    own = [
        f'Dir "{root}"',
        f'DPkg::Chroot-Directory "{root}"',
        'Dir::Etc::sourcelist "/dev/null"',
        f'Dir::Etc::sourceparts "{scratch}/sources"',
        f'Dir::Etc::trusted "{HOST_APT}/trusted.gpg"',
        f'Dir::Etc::trustedparts "{HOST_APT}/trusted.gpg.d"',
        f'Dir::State::lists "{scratch}/lists"',
        'APT::Sandbox::User "root"',
        'APT::Install-Recommends "false"',
        'DPkg::Options:: "--force-confold"',
        'DPkg::Options:: "--force-unsafe-io"',
    ]
    return "".join(f"{line};\n" for line in [*own, *settings])


def install(root: Path, packages: Sequence[str], *, doing: str) -> None:
    """Install Debian packages into the tree `root`; none of their services is started."""
    tools.require("apt-get", "apt")
    with tempfile.TemporaryDirectory(prefix="drydock-apt-") as folder, _no_services(root):
        scratch = Path(folder)
        (scratch / "sources").mkdir()
        (scratch / "lists").mkdir()
        write_sources(scratch / "sources", codename())
        settings = scratch / "apt.conf"
        settings.write_text(configuration(root, scratch, fetch_settings()))
        env = os.environ | {"APT_CONFIG": str(settings), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        tools.run(tools.isolated(["apt-get", "--quiet", "update", "--error-on=any"]), doing=doing, env=env)
        apt_get = ["apt-get", "--quiet", "--yes", "install", *packages]
        tools.run(tools.isolated(tools.with_mounts(root, apt_get)), doing=doing, env=env)


@contextmanager
def _no_services(root: Path) -> Iterator[None]:
    """Tell the packages' scripts, the way Debian foresees, that no service may be started."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()

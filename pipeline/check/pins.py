"""What is fetched at run time, and to what it is pinned: a digest, a commit or a lock file. Pure functions."""

import dataclasses
import datetime
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from pipeline.core.documents import mapping
from pipeline.core.errors import InvalidInputError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# The tag of an action, which stands as a comment beside the commit.
_TAGGED = re.compile(r"\buses:[ \t]*[\"']?(?P<action>[^\s\"'#]+)[\"']?[ \t]*#[ \t]*(?P<tag>\S+)")
_DOCKER = "docker://"
_RELEASE = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?")
_VERSION = re.compile(r"(?m)^version=([0-9.]+)$")
_SUM = re.compile(r"\b[0-9a-f]{64}\b")
_EXACT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*==\s*(?P<version>[^\s;,*]+)(?:\s*;.*)?")
SHOWN = 12

IMAGE = "the digest that `docker buildx imagetools inspect NAME` tells, or Renovate"
ACTION = "the commit of a newer tag, or Dependabot, Renovate"
NPM = "`npm update`, or Dependabot, Renovate"
UV = "`uv lock --upgrade`, or Dependabot, Renovate"
BUILD = "`name==version` in pyproject.toml"
DAGGER = "`dagger update`"
CLI = "version and checksums, from the release's checksums.txt"
ENGINE = "`dagger develop` of a newer CLI"


@dataclasses.dataclass(frozen=True, slots=True)
class Pin:
    """One thing that is fetched.

    Args:
        kind: image, action, packages, module, cli or engine.
        name: as it is asked for.
        pinned: digest, commit, checksum or lock that holds it; empty where nothing does.
        file: where that stands, relative to the repository's root; empty where it comes from the caller.
        refresh: how to replace it by a newer one.
        since: date on which the pin came into the repository, or empty where that is unknown.
    """

    kind: str
    name: str
    pinned: str
    file: str
    refresh: str
    since: str = ""

    def age(self, today: datetime.date) -> int | None:
        """Return for how many days it has been pinned, or None."""
        return (today - datetime.date.fromisoformat(self.since)).days if self.since else None


def image(reference: str, file: str = "") -> Pin:
    """Return the pin of an image."""
    name, _, digest = reference.partition("@")
    return Pin("image", name, digest if _DIGEST.fullmatch(digest) else "", file, IMAGE)


def in_workflow(text: str, file: str) -> Iterator[Pin]:
    """Yield the actions and images that a workflow or composite action uses, but actions of the repository itself."""
    tags = {found["action"]: found["tag"] for found in _TAGGED.finditer(text)}
    for document in _yaml(text, file):
        for used in _used(document):
            name, _, version = used.partition("@")
            if name.startswith(("./", "$/")):
                continue
            if used.startswith(_DOCKER):
                yield image(used.removeprefix(_DOCKER), file)
                continue
            label = f"{name} {tags.get(used, '')}".strip()
            yield Pin("action", label, version if _COMMIT.fullmatch(version) else "", file, ACTION)


def in_install_script(text: str, file: str) -> Iterator[Pin]:
    """Yield the Dagger CLI that a script installs, by its checksums."""
    for version in _VERSION.findall(text):
        yield Pin("cli", f"dagger v{version}", next(iter(_SUM.findall(text)), ""), file, CLI)


def in_module(text: str, file: str) -> Iterator[Pin]:
    """Yield the engine's version and the modules in a dagger.json; those beside it are the repository's own."""
    module = _json(text, file)
    if version := str(module.get("engineVersion") or ""):
        yield Pin("engine", f"dagger {version}", version if _RELEASE.fullmatch(version) else "", file, ENGINE)
    sdk = module.get("sdk")
    modules = [sdk if isinstance(sdk, dict) else {"source": sdk}, module.get("blueprint")]
    for several in ("dependencies", "toolchains"):
        modules += module.get(several) or []
    for source, pin in ((str(mapping(m).get("source") or ""), str(mapping(m).get("pin") or "")) for m in modules):
        # An SDK of the engine's own is one word, such as python.
        if "/" in source and not source.startswith("."):
            commit = next((c for c in (pin, source.rpartition("@")[2]) if _COMMIT.fullmatch(c)), "")
            yield Pin("module", source, commit, file, DAGGER)


def in_pyproject(text: str, file: str) -> Iterator[Pin]:
    """Yield the image that a module in Python runs on, and what it is built with: no lock file holds that."""
    project = _toml(text, file)
    if reference := project.get("tool", {}).get("dagger", {}).get("base-image"):
        yield image(str(reference), file)
    for requirement in project.get("build-system", {}).get("requires") or []:
        exact = _EXACT.fullmatch(requirement)
        yield Pin("packages", exact["name"] if exact else requirement, exact["version"] if exact else "", file, BUILD)


def without_lock(text: str, file: str) -> Iterator[Pin]:
    """Yield what a module in Python needs, where no uv.lock is beside its pyproject.toml."""
    for requirement in _toml(text, file).get("project", {}).get("dependencies") or []:
        yield Pin("packages", str(requirement), "", file, UV)


def in_npm_lock(text: str, file: str) -> Iterator[Pin]:
    """Yield what a package-lock.json holds by checksum, as one, and each package that it does not."""
    lock = _json(text, file)
    packages = lock.get("packages") or {}
    if not packages and lock.get("dependencies"):
        yield Pin(
            "packages", f"lockfileVersion {lock.get('lockfileVersion', 1)}", "", file, "`npm install` makes a newer one"
        )
    fetched = {
        path: package
        for path, package in packages.items()
        if "node_modules/" in path and not package.get("link") and not package.get("inBundle")
    }
    loose = [path for path, package in fetched.items() if not (package.get("integrity") or _by_commit(package))]
    yield from (Pin("packages", path.rpartition("node_modules/")[2], "", file, NPM) for path in loose)
    if len(fetched) > len(loose):
        yield Pin("packages", f"{len(fetched) - len(loose)} of npm", "by checksum", file, NPM)


def in_uv_lock(text: str, file: str) -> Iterator[Pin]:
    """Yield what a uv.lock holds by hash or commit, as one, and each package that it does not."""
    packages: list[dict[str, Any]] = _toml(text, file).get("package") or []
    local = {"editable", "virtual", "directory", "path"}
    fetched = [package for package in packages if not local & set(package.get("source") or {})]
    loose = [str(package["name"]) for package in fetched if not _hashed(package)]
    yield from (Pin("packages", name, "", file, UV) for name in loose)
    if len(fetched) > len(loose):
        yield Pin("packages", f"{len(fetched) - len(loose)} of PyPI", "by hash", file, UV)


def in_manifests(text: str, file: str, service: str) -> Iterator[Pin]:
    """Yield the images in a Kubernetes manifest but the service's own, and what a kustomization gets from elsewhere."""
    for document in _yaml(text, file):
        for reference in _images(document):
            if reference.partition(":")[0] != service:
                yield image(reference, file)
        for key in ("resources", "bases", "components", "generators", "transformers", "validators", "crds"):
            for entry in document.get(key) or [] if isinstance(document.get(key), list) else []:
                if isinstance(entry, str) and _is_remote(entry):
                    commit = entry.rpartition("ref=")[2]
                    pinned = commit if _COMMIT.fullmatch(commit) else ""
                    yield Pin("module", entry, pinned, file, "the commit of a newer tag, as `?ref=`")


def check_frozen(pins: Iterable[Pin]) -> None:
    """Refuse what is not pinned.

    Raises:
        InvalidInputError: with each such thing, and where it stands.
    """
    loose = [f"{pin.kind} {pin.name}{f' in {pin.file}' if pin.file else ''}" for pin in pins if not pin.pinned]
    if loose:
        raise InvalidInputError(
            f"ship --frozen: not all that is fetched is pinned ({len(loose)})",
            output="\n".join(loose),
            hint="pin images by digest, actions and modules by commit, packages by a lock file: `pins` tells how",
        )


def table(pins: Sequence[Pin], today: datetime.date) -> str:
    """Return the pins as a table: what, to what, for how many days, where; and how each kind is refreshed."""
    head = ("kind", "name", "pinned", "days", "file")
    rows = [
        (
            pin.kind,
            pin.name,
            pin.pinned.removeprefix("sha256:")[:SHOWN] or "NOT PINNED",
            "?" if (age := pin.age(today)) is None else str(age),
            pin.file,
        )
        for pin in pins
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    ways = dict.fromkeys(f"{pin.kind}: {pin.refresh}" for pin in pins)
    return "\n".join([*lines, "", "to refresh", *(f"  {way}" for way in ways)])


def to_document(pins: Sequence[Pin], today: datetime.date) -> str:
    """Return the pins as JSON."""
    return json.dumps([dataclasses.asdict(pin) | {"days": pin.age(today)} for pin in pins], indent=2)


def _json(text: str, file: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"pins: {file} is not JSON: {error}") from error
    return mapping(document)


def _yaml(text: str, file: str) -> list[dict[str, Any]]:
    try:
        return [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    except yaml.YAMLError as error:
        raise InvalidInputError(f"pins: {file} is not YAML: {' '.join(str(error).split())}") from error


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"pins: {file} is not TOML: {error}") from error


def _by_commit(package: dict[str, Any]) -> bool:
    """Whether a package comes from Git, by commit."""
    address, _, commit = str(package.get("resolved", "")).rpartition("#")
    return address.startswith("git") and bool(_COMMIT.fullmatch(commit))


def _hashed(package: dict[str, Any]) -> bool:
    source = package.get("source") or {}
    if "git" in source:
        return bool(_COMMIT.fullmatch(str(source["git"]).rpartition("#")[2]))
    files = [*(package.get("wheels") or []), *([package["sdist"]] if "sdist" in package else [])]
    return bool(files) and all("hash" in file for file in files)


def _used(document: dict[str, Any]) -> Iterator[str]:
    """Yield what the jobs of a workflow, or the steps of an action, use; an image as docker://REFERENCE."""
    runs = mapping(document.get("runs"))
    for job in [*mapping(document.get("jobs")).values(), runs]:
        steps = mapping(job).get("steps")
        for step in [job, *(steps if isinstance(steps, list) else [])]:
            if used := mapping(step).get("uses"):
                yield str(used)
        containers = [mapping(job).get("container"), *mapping(mapping(job).get("services")).values()]
        for container in containers:
            if reference := mapping(container).get("image") or (container if isinstance(container, str) else ""):
                yield f"{_DOCKER}{reference}"
    if str(runs.get("image", "")).startswith(_DOCKER):
        yield str(runs["image"])


def _images(document: object) -> Iterator[str]:
    """Yield the value of every `image` of a document, however deep."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "image" and isinstance(value, str):
                yield value
            else:
                yield from _images(value)
    elif isinstance(document, list):
        for entry in document:
            yield from _images(entry)


def _is_remote(entry: str) -> bool:
    """Whether Kustomize would fetch an entry: a URL, or a repository as it writes them."""
    return "://" in entry or "?ref=" in entry or entry.startswith(("git@", "github.com/", "git::"))

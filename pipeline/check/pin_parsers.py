"""Parsers that find the pins in a file: one per kind of file, each of its text and its path in the repository."""

import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.check.pins import ACTION, BUILD, CLI, DAGGER, ENGINE, KUSTOMIZE, NPM, NPM_LOCK, UV, Pin, image_pin
from pipeline.core.documents import load_yaml, mapping
from pipeline.core.errors import InvalidInputError

Parser = Callable[[str, str], list[Pin]]

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# The tag of an action: a comment after the commit.
_TAGGED = re.compile(r"\buses:[ \t]*[\"']?(?P<action>[^\s\"'#]+)[\"']?[ \t]*#[ \t]*(?P<tag>\S+)")
_DOCKER = "docker://"
_RELEASE = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?")
_CLI_VERSION = re.compile(r"(?m)^version=([0-9.]+)$")
_SUM = re.compile(r"\b[0-9a-f]{64}\b")
_EXACT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*==\s*(?P<version>[^\s;,*]+)(?:\s*;.*)?")
_LOCAL_SOURCES = {"editable", "virtual", "directory", "path"}
_KUSTOMIZE_LISTS = ("resources", "bases", "components", "generators", "transformers", "validators", "crds")


def _parser(find: Callable[[str, str], Iterator[Pin]]) -> Parser:
    """Return a parser that refuses a document of an unexpected structure by an error that names its file."""

    @functools.wraps(find)
    def parse(text: str, file: str) -> list[Pin]:
        try:
            return list(find(text, file))
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"pins: {file} is malformed: {' '.join(str(error).split()) or type(error).__name__}",
                hint="check it with the tool that reads it",
            ) from error

    return parse


@_parser
def workflow_pins(text: str, file: str) -> Iterator[Pin]:
    """Yield the actions and images of a workflow or composite action, except the repository's own actions."""
    tags = {match["action"]: match["tag"] for match in _TAGGED.finditer(text)}
    for document in _yaml(text):
        for reference in _uses(document):
            name, _, version = reference.partition("@")
            if name.startswith(("./", "$/")):
                continue
            if reference.startswith(_DOCKER):
                yield image_pin(reference.removeprefix(_DOCKER), file)
                continue
            label = f"{name} {tags.get(reference, '')}".strip()
            yield Pin("action", label, version if _COMMIT.fullmatch(version) else "", file, ACTION)


@_parser
def install_script_pins(text: str, file: str) -> Iterator[Pin]:
    """Yield the Dagger CLI that a script installs, with its first checksum."""
    for version in _CLI_VERSION.findall(text):
        yield Pin("cli", f"dagger v{version}", next(iter(_SUM.findall(text)), ""), file, CLI)


@_parser
def module_pins(text: str, file: str) -> Iterator[Pin]:
    """Yield the engine's version and the remote modules of a dagger.json; local ones belong to the repository."""
    module = mapping(json.loads(text))
    if version := str(module.get("engineVersion") or ""):
        yield Pin("engine", f"dagger {version}", version if _RELEASE.fullmatch(version) else "", file, ENGINE)
    sdk = module.get("sdk")
    modules = [sdk if isinstance(sdk, dict) else {"source": sdk}, module.get("blueprint")]
    for key in ("dependencies", "toolchains"):
        modules += module.get(key) or []
    for entry in map(mapping, modules):
        source, pin = str(entry.get("source") or ""), str(entry.get("pin") or "")
        # A built-in SDK of the engine is one word, such as python.
        if "/" in source and not source.startswith("."):
            commit = next((c for c in (pin, source.rpartition("@")[2]) if _COMMIT.fullmatch(c)), "")
            yield Pin("module", source, commit, file, DAGGER)


@_parser
def pyproject_pins(text: str, file: str) -> Iterator[Pin]:
    """Yield the base image of a Python module and its build requirements, which no lock file pins."""
    project = tomllib.loads(text)
    if reference := project.get("tool", {}).get("dagger", {}).get("base-image"):
        yield image_pin(str(reference), file)
    for requirement in project.get("build-system", {}).get("requires") or []:
        exact = _EXACT.fullmatch(requirement)
        yield Pin("packages", exact["name"] if exact else requirement, exact["version"] if exact else "", file, BUILD)


@_parser
def unlocked_pins(text: str, file: str) -> Iterator[Pin]:
    """Yield the dependencies of a Python module without a uv.lock, from its pyproject.toml."""
    for requirement in tomllib.loads(text).get("project", {}).get("dependencies") or []:
        yield Pin("packages", str(requirement), "", file, UV)


@_parser
def npm_lock_pins(text: str, file: str) -> Iterator[Pin]:
    """Yield the packages that a package-lock.json pins by checksum, as one, and each package that it does not pin."""
    lock = mapping(json.loads(text))
    packages = lock.get("packages") or {}
    if not packages and lock.get("dependencies"):
        yield Pin("packages", f"lockfileVersion {lock.get('lockfileVersion', 1)}", "", file, NPM_LOCK)
    fetched = {
        path: package
        for path, package in packages.items()
        if "node_modules/" in path and not package.get("link") and not package.get("inBundle")
    }
    loose = [path for path, package in fetched.items() if not (package.get("integrity") or _has_commit(package))]
    yield from (Pin("packages", path.rpartition("node_modules/")[2], "", file, NPM) for path in loose)
    if len(fetched) > len(loose):
        yield Pin("packages", f"{len(fetched) - len(loose)} of npm", "by checksum", file, NPM)


@_parser
def uv_lock_pins(text: str, file: str) -> Iterator[Pin]:
    """Yield the packages that a uv.lock pins by hash or commit, as one, and each package that it does not pin."""
    packages: list[dict[str, Any]] = tomllib.loads(text).get("package") or []
    fetched = [package for package in packages if not _LOCAL_SOURCES & set(package.get("source") or {})]
    loose = [str(package["name"]) for package in fetched if not _has_hashes(package)]
    yield from (Pin("packages", name, "", file, UV) for name in loose)
    if len(fetched) > len(loose):
        yield Pin("packages", f"{len(fetched) - len(loose)} of PyPI", "by hash", file, UV)


def manifest_pins(text: str, file: str, service: str) -> list[Pin]:
    """Return the images of a Kubernetes manifest, except the service's own, and what a kustomization fetches."""
    return [pin for pin in _manifest_pins(text, file) if pin.kind != "image" or pin.name.partition(":")[0] != service]


@_parser
def _manifest_pins(text: str, file: str) -> Iterator[Pin]:
    for document in _yaml(text):
        for reference in _images(document):
            yield image_pin(reference, file)
        for key in _KUSTOMIZE_LISTS:
            entries = document.get(key)
            for entry in entries if isinstance(entries, list) else []:
                if isinstance(entry, str) and _is_remote(entry):
                    commit = entry.rpartition("ref=")[2]
                    yield Pin("module", entry, commit if _COMMIT.fullmatch(commit) else "", file, KUSTOMIZE)


def _yaml(text: str) -> list[dict[str, Any]]:
    return [document for document in load_yaml(text) if isinstance(document, dict)]


def _has_commit(package: dict[str, Any]) -> bool:
    """Whether npm fetches a package from Git, by commit."""
    address, _, commit = str(package.get("resolved", "")).rpartition("#")
    return address.startswith("git") and bool(_COMMIT.fullmatch(commit))


def _has_hashes(package: dict[str, Any]) -> bool:
    """Whether uv fetches a package from Git, by commit, or has a hash of each of its files."""
    source = package.get("source") or {}
    if "git" in source:
        return bool(_COMMIT.fullmatch(str(source["git"]).rpartition("#")[2]))
    files = [*(package.get("wheels") or []), *([package["sdist"]] if "sdist" in package else [])]
    return bool(files) and all("hash" in file for file in files)


def _uses(document: dict[str, Any]) -> Iterator[str]:
    """Yield the references of the jobs of a workflow, or the steps of an action; an image as docker://REFERENCE."""
    runs = mapping(document.get("runs"))
    for job in [*mapping(document.get("jobs")).values(), runs]:
        steps = mapping(job).get("steps")
        for step in [job, *(steps if isinstance(steps, list) else [])]:
            if reference := mapping(step).get("uses"):
                yield str(reference)
        for container in [mapping(job).get("container"), *mapping(mapping(job).get("services")).values()]:
            if reference := mapping(container).get("image") or (container if isinstance(container, str) else ""):
                yield f"{_DOCKER}{reference}"
    if str(runs.get("image", "")).startswith(_DOCKER):
        yield str(runs["image"])


def _images(document: object) -> Iterator[str]:
    """Yield the value of every `image` of a document, at any depth."""
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
    """Whether Kustomize would fetch an entry: a URL, or a repository in its own short form."""
    return "://" in entry or "?ref=" in entry or entry.startswith(("git@", "github.com/", "git::"))

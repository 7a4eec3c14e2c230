"""Values of arguments: what was written on the command line, turned into what the function takes."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagger
from dagger import dag

from drydock.call.errors import UsageError
from drydock.call.flags import read_switch
from drydock.call.model import Argument, Kind, Type

if TYPE_CHECKING:
    from drydock.call.flags import Step
    from drydock.call.module import Module

_REMOTE = re.compile(r"(?:https?|ssh|git)://|git@")
SECRET_SCHEMES = ("env", "file", "cmd")
_FORMS = {
    "Container": "an image address, such as alpine:3.22",
    "Service": "tcp://host:port",
    "Secret": "env:NAME, file:PATH or cmd:COMMAND",
    "BuildArg": "name=value",
    "PortForward": "frontend:backend",
}


def read(argument: Argument, texts: list[str]) -> Any:  # noqa: ANN401 - of the argument's type
    """Read what was given for an argument; objects stay text until `resolve`. Raises `UsageError`."""
    if argument.type.kind is Kind.LIST and argument.type.element:
        element = argument.type.element
        return [_read_one(argument, element, part) for text in texts for part in next(csv.reader([text]), [])]
    return _read_one(argument, argument.type, texts[-1])


def _read_one(argument: Argument, known: Type, text: str) -> Any:  # noqa: ANN401
    match known.kind:
        case Kind.STRING:
            return known.cls(text)
        case Kind.BOOLEAN:
            return read_switch(argument.flag, text)
        case Kind.INTEGER | Kind.FLOAT:
            return _read_number(argument.flag, known.kind, text)
        case Kind.ENUM:
            return _read_member(argument.flag, known, text)
        case Kind.CORE | Kind.INPUT:
            return _check_address(argument.flag, known.label, text)
        case _:
            raise UsageError(f"--{argument.flag}: a value of type {known.label} cannot be given on the command line")


def _read_number(flag: str, kind: Kind, text: str) -> int | float:
    try:
        return int(text, 0) if kind is Kind.INTEGER else float(text)
    except ValueError:
        what = "whole number" if kind is Kind.INTEGER else "number"
        raise UsageError(f'--{flag}: "{text}" is no {what}') from None


def _read_member(flag: str, known: Type, text: str) -> Any:  # noqa: ANN401 - a member of the enum
    for member in known.cls:
        if text.casefold() in {member.name.casefold(), str(member.value).casefold()}:
            return member
    raise UsageError(f'--{flag}: "{text}" should be one of {known.label}')


def _check_address(flag: str, name: str, text: str) -> str:
    """Refuse early what cannot be there, so that a typing error costs no work."""
    path = local_path(text)
    match name:
        case "Directory" if not _REMOTE.match(text) and not path.is_dir():
            raise UsageError(f"--{flag}: {text}: no such directory")
        case "File" if not _REMOTE.match(text) and not path.is_file():
            raise UsageError(f"--{flag}: {text}: no such file")
        case "Secret":
            _check_secret(flag, text)
        case "Service" if not re.fullmatch(r"(?:tcp|udp)://[^:/]+:\d+", text):
            raise UsageError(f'--{flag}: "{text}" should be {_FORMS[name]}')
        case "BuildArg" if not text.partition("=")[0] or "=" not in text:
            raise UsageError(f'--{flag}: "{text}" should be {_FORMS[name]}')
        case "PortForward" if not re.fullmatch(r"\d+:\d+", text):
            raise UsageError(f'--{flag}: "{text}" should be {_FORMS[name]}')
        case "" | "Container" | "CacheVolume" if not text:
            raise UsageError(f"--{flag}: is empty")
    return text


def local_path(text: str) -> Path:
    """Return the path that a local address names."""
    return Path(text.removeprefix("file://")).expanduser()


def secret_uri(text: str) -> str:
    """Return the URI of a secret, from any of the spellings that `dagger call` takes."""
    if ":" not in text:
        text = f"env:{text}"
    scheme, _, rest = text.partition(":")
    return f"{scheme}://{rest.removeprefix('//')}"


def _check_secret(flag: str, text: str) -> None:
    """Refuse what names no secret. What may be the secret itself, given without a scheme, is not repeated."""
    scheme, _, rest = secret_uri(text).partition("://")
    if scheme not in SECRET_SCHEMES or (":" not in text and rest not in os.environ):
        raise UsageError(f"--{flag}: what was given names no secret and is not shown; a secret is {_FORMS['Secret']}")
    if scheme == "env" and rest not in os.environ:
        raise UsageError(f"--{flag}: environment variable {rest} is not set; a secret is {_FORMS['Secret']}")
    if scheme == "file" and not Path(rest).expanduser().is_file():
        raise UsageError(f"--{flag}: {rest}: no such file; a secret is {_FORMS['Secret']}")


async def arguments_of(step: Step, module: Module) -> dict[str, Any]:
    """Return the keyword arguments of a step: what was given, and defaults that only the engine can load."""
    kwargs: dict[str, Any] = {}
    for argument in step.function.arguments:
        if argument.flag in step.given:
            value = read(argument, step.given[argument.flag])
            kwargs[argument.key] = await _resolve_all(argument, value)
        elif argument.default_path:
            kwargs[argument.key] = from_host(argument.type.label, module.path(argument.default_path), argument.ignore)
        elif argument.default_address:
            kwargs[argument.key] = dag.container().from_(argument.default_address)
        elif argument.none_if_omitted:
            kwargs[argument.key] = None
    return kwargs


async def _resolve_all(argument: Argument, value: Any) -> Any:  # noqa: ANN401
    if argument.type.kind is Kind.LIST and argument.type.element:
        return [await resolve(argument, argument.type.element, item) for item in value]
    return await resolve(argument, argument.type, value)


async def resolve(argument: Argument, known: Type, value: Any) -> Any:  # noqa: ANN401, C901, PLR0911
    """Turn the text of an object into the object; a file, directory or image that cannot be had fails here."""
    if known.kind not in {Kind.CORE, Kind.INPUT}:
        return value
    match known.label:
        case "Secret":
            return dag.secret(secret_uri(value))
        case "Container":
            return await dag.container().from_(value)
        case "Directory" | "File" if _REMOTE.match(value):
            address = dag.address(value)
            return await (address.directory() if known.label == "Directory" else address.file())
        case "Directory" | "File":
            return await from_host(known.label, local_path(value), argument.ignore)
        case "GitRepository":
            return dag.git(value) if _REMOTE.match(value) else from_host(known.label, local_path(value))
        case "GitRef":
            return _git_ref(value)
        case "Service":
            return await _host_service(value)
        case "CacheVolume":
            return dag.cache_volume(value)
        case "BuildArg":
            name, _, text = value.partition("=")
            return dagger.BuildArg(name, text)
        case "PortForward":
            frontend, _, backend = value.partition(":")
            return dagger.PortForward(backend=int(backend), frontend=int(frontend))
    raise UsageError(f"--{argument.flag}: a value of type {known.label} cannot be given on the command line")


def from_host(label: str, path: Path, ignore: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - one of the four below
    """Return what is at a path of this machine, as the type that `label` names; lazy."""
    absolute = str(path.absolute())
    match label:
        case "File":
            return dag.host().file(absolute)
        case "GitRepository":
            return dag.host().directory(absolute).as_git()
        case "GitRef":
            return dag.host().directory(absolute).as_git().head()
        case _:
            return dag.host().directory(absolute, exclude=list(ignore))


def _git_ref(text: str) -> dagger.GitRef:
    address, _, ref = text.partition("#")
    repository = dag.git(address) if _REMOTE.match(address) else from_host("GitRepository", local_path(address))
    found: dagger.GitRef = repository.ref(ref) if ref else repository.head()
    return found


async def _host_service(address: str) -> dagger.Service:
    scheme, _, rest = address.partition("://")
    host, _, port = rest.partition(":")
    forward = dagger.PortForward(backend=int(port), frontend=int(port), protocol=dagger.NetworkProtocol[scheme.upper()])
    service = dag.host().service([forward], host=host)
    await service.start()
    return service

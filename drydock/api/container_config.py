"""Container: what is known without touching a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from drydock.api.file import read_bytes
from drydock.api.registry import resolves
from drydock.errors import InvalidArgumentError
from drydock.image import Port

if TYPE_CHECKING:
    from drydock.container import Container
    from drydock.graph import Node
    from drydock.session import Session
    from drydock.tree import FileRef

PLATFORM = "linux/amd64"


@dataclass(frozen=True)
class Pair:
    """A name and a value: EnvVariable, Label."""

    name: str
    value: str


@resolves("Container.platform")
def platform(_session: Session, _ctr: Container) -> str:
    return PLATFORM


# Environment


@resolves("Container.withEnvVariable")
def with_env_variable(_session: Session, ctr: Container, *, name: str, value: str, expand: bool) -> Container:
    return replace(ctr, config=ctr.config.with_env(name, ctr.expand(value) if expand else value))


@resolves("Container.withoutEnvVariable")
def without_env_variable(_session: Session, ctr: Container, *, name: str) -> Container:
    return replace(ctr, config=ctr.config.without_env(name))


@resolves("Container.withEnvFileVariables")
async def with_env_file_variables(session: Session, ctr: Container, *, source: Node) -> Container:
    file: FileRef = await source.value()

    config = ctr.config
    for line in (await read_bytes(session, file)).decode("utf-8", "replace").splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and not name.startswith("#"):
            config = config.with_env(name.strip(), value.strip().strip("\"'"))
    return replace(ctr, config=config)


@resolves("Container.envVariable")
def env_variable(_session: Session, ctr: Container, *, name: str) -> str | None:
    return dict(ctr.config.env).get(name)


@resolves("Container.envVariables")
def env_variables(_session: Session, ctr: Container) -> list[Pair]:
    return [Pair(name, value) for name, value in ctr.config.env]


@resolves("Container.withSecretVariable")
def with_secret_variable(_session: Session, ctr: Container, *, name: str, secret: Node) -> Container:
    others = tuple(pair for pair in ctr.secret_env if pair[0] != name)
    return replace(ctr, secret_env=(*others, (name, secret)))


@resolves("Container.withoutSecretVariable")
def without_secret_variable(_session: Session, ctr: Container, *, name: str) -> Container:
    return replace(ctr, secret_env=tuple(pair for pair in ctr.secret_env if pair[0] != name))


@resolves("Container.withVolatileVariable")
def with_volatile_variable(_session: Session, ctr: Container, *, name: str, value: str) -> Container:
    others = tuple(pair for pair in ctr.volatile_env if pair[0] != name)
    return replace(ctr, volatile_env=(*others, (name, value)))


@resolves("Container.withoutVolatileVariable")
def without_volatile_variable(_session: Session, ctr: Container, *, name: str) -> Container:
    return replace(ctr, volatile_env=tuple(pair for pair in ctr.volatile_env if pair[0] != name))


# User and working directory


@resolves("Container.withUser")
def with_user(_session: Session, ctr: Container, *, name: str) -> Container:
    return ctr.with_config(user=name)


@resolves("Container.withoutUser")
def without_user(_session: Session, ctr: Container) -> Container:
    return ctr.with_config(user="")


@resolves("Container.user")
def user(_session: Session, ctr: Container) -> str:
    return ctr.config.user


@resolves("Container.withWorkdir")
def with_workdir(_session: Session, ctr: Container, *, path: str, expand: bool) -> Container:
    return ctr.with_config(workdir=ctr.path(path, expand=expand))


@resolves("Container.withoutWorkdir")
def without_workdir(_session: Session, ctr: Container) -> Container:
    return ctr.with_config(workdir="")


@resolves("Container.workdir")
def workdir(_session: Session, ctr: Container) -> str:
    return ctr.config.workdir


# Entrypoint and default arguments


@resolves("Container.withEntrypoint")
def with_entrypoint(_session: Session, ctr: Container, *, args: list[str], keep_default_args: bool) -> Container:
    return ctr.with_config(entrypoint=tuple(args), cmd=ctr.config.cmd if keep_default_args else ())


@resolves("Container.withoutEntrypoint")
def without_entrypoint(_session: Session, ctr: Container, *, keep_default_args: bool) -> Container:
    return ctr.with_config(entrypoint=(), cmd=ctr.config.cmd if keep_default_args else ())


@resolves("Container.entrypoint")
def entrypoint(_session: Session, ctr: Container) -> list[str]:
    return list(ctr.config.entrypoint)


@resolves("Container.withDefaultArgs")
def with_default_args(_session: Session, ctr: Container, *, args: list[str]) -> Container:
    return replace(ctr.with_config(cmd=tuple(args)), explicit_args=True)


@resolves("Container.withoutDefaultArgs")
def without_default_args(_session: Session, ctr: Container) -> Container:
    return replace(ctr.with_config(cmd=()), explicit_args=False)


@resolves("Container.defaultArgs")
def default_args(_session: Session, ctr: Container) -> list[str]:
    return list(ctr.config.cmd)


# Labels, annotations, ports


@resolves("Container.withLabel")
def with_label(_session: Session, ctr: Container, *, name: str, value: str) -> Container:
    return replace(ctr, config=ctr.config.with_label(name, value))


@resolves("Container.withoutLabel")
def without_label(_session: Session, ctr: Container, *, name: str) -> Container:
    return replace(ctr, config=ctr.config.without_label(name))


@resolves("Container.label")
def label(_session: Session, ctr: Container, *, name: str) -> str | None:
    return dict(ctr.config.labels).get(name)


@resolves("Container.labels")
def labels(_session: Session, ctr: Container) -> list[Pair]:
    return [Pair(name, value) for name, value in ctr.config.labels]


@resolves("Container.withAnnotation")
def with_annotation(_session: Session, ctr: Container, *, name: str, value: str) -> Container:
    return replace(ctr, annotations=tuple(sorted({**dict(ctr.annotations), name: value}.items())))


@resolves("Container.withoutAnnotation")
def without_annotation(_session: Session, ctr: Container, *, name: str) -> Container:
    return replace(ctr, annotations=tuple(pair for pair in ctr.annotations if pair[0] != name))


@resolves("Container.withExposedPort")
def with_exposed_port(
    _session: Session,
    ctr: Container,
    *,
    port: int,
    protocol: str,
    description: str | None = None,
    experimental_skip_healthcheck: bool,
) -> Container:
    return replace(ctr, config=ctr.config.with_port(Port(port, protocol, description, experimental_skip_healthcheck)))


@resolves("Container.withoutExposedPort")
def without_exposed_port(_session: Session, ctr: Container, *, port: int, protocol: str) -> Container:
    return replace(ctr, config=ctr.config.without_port(port, protocol))


@resolves("Container.exposedPorts")
def exposed_ports(_session: Session, ctr: Container) -> list[Port]:
    return list(ctr.config.ports)


# Health check

SECOND = 1_000_000_000
UNITS = {"h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": 1_000_000, "us": 1_000, "ns": 1}


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a Go duration such as `1m30s`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgumentError(f"{text!r} is not a duration; write one such as 30s or 1m30s")
    return sum(int(float(number) * UNITS[unit]) for number, unit in parts)


@resolves("Container.withDockerHealthcheck")
def with_docker_healthcheck(
    _session: Session,
    ctr: Container,
    *,
    args: list[str],
    shell: bool | None = None,
    interval: str | None = None,
    timeout: str | None = None,
    start_period: str | None = None,
    start_interval: str | None = None,
    retries: int | None = None,
) -> Container:
    check: dict[str, Any] = {"Test": ["CMD-SHELL" if shell else "CMD", *args]}
    times = {"Interval": interval, "Timeout": timeout, "StartPeriod": start_period, "StartInterval": start_interval}
    check.update({name: parse_duration(text) for name, text in times.items() if text})
    if retries:
        check["Retries"] = retries
    return ctr.with_config(healthcheck=check)


@resolves("Container.withoutDockerHealthcheck")
def without_docker_healthcheck(_session: Session, ctr: Container) -> Container:
    return ctr.with_config(healthcheck=None)


@resolves("Container.dockerHealthcheck")
def docker_healthcheck(_session: Session, ctr: Container) -> dict[str, Any]:
    return ctr.config.healthcheck or {}

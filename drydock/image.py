"""An image's configuration as a value, and its form in OCI's JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Port:
    """A port that a service listens on. `protocol` is TCP or UDP."""

    port: int
    protocol: str = "TCP"
    description: str | None = None
    experimental_skip_healthcheck: bool = False
    from_image: bool = False
    """The image exposes it, nobody here did: services do without it."""


@dataclass(frozen=True)
class Config:
    """What an image says about how to run it; the `config` object of the OCI image specification."""

    env: tuple[tuple[str, str], ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[Port, ...] = ()
    healthcheck: dict[str, Any] | None = None
    rest: dict[str, Any] = field(default_factory=dict)
    """Members that the engine passes on unread: Volumes, StopSignal, Shell, …"""

    def with_env(self, name: str, value: str) -> Config:
        """Set a variable; one that is set already keeps its place."""
        if any(n == name for n, _ in self.env):
            return replace(self, env=tuple((n, value if n == name else v) for n, v in self.env))
        return replace(self, env=(*self.env, (name, value)))

    def without_env(self, name: str) -> Config:
        """Unset a variable."""
        return replace(self, env=tuple(pair for pair in self.env if pair[0] != name))

    def with_label(self, name: str, value: str) -> Config:
        """Set a label."""
        return replace(self, labels=tuple(sorted({**dict(self.labels), name: value}.items())))

    def without_label(self, name: str) -> Config:
        """Remove a label."""
        return replace(self, labels=tuple(pair for pair in self.labels if pair[0] != name))

    def with_port(self, port: Port) -> Config:
        """Expose a port."""
        return replace(self, ports=(*self.without_port(port.port, port.protocol).ports, port))

    def without_port(self, number: int, protocol: str) -> Config:
        """Take an exposed port back."""
        return replace(self, ports=tuple(p for p in self.ports if (p.port, p.protocol) != (number, protocol)))

    @property
    def service_ports(self) -> tuple[Port, ...]:
        """The ports that a service of this container is expected to open."""
        return tuple(port for port in self.ports if not port.from_image)

    def to_json(self) -> dict[str, Any]:
        """Return OCI's form; empty members are left out."""
        members: dict[str, Any] = {
            "User": self.user,
            "ExposedPorts": {f"{p.port}/{p.protocol.lower()}": {} for p in self.ports},
            "Env": [f"{name}={value}" for name, value in self.env],
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "WorkingDir": self.workdir,
            "Labels": dict(self.labels),
            "Healthcheck": self.healthcheck,
        }
        return {**self.rest, **{name: value for name, value in members.items() if value}}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Config:
        """Read OCI's form."""
        known = {"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "Healthcheck"}
        return cls(
            env=tuple((n, v) for n, _, v in (pair.partition("=") for pair in raw.get("Env") or ())),
            entrypoint=tuple(raw.get("Entrypoint") or ()),
            cmd=tuple(raw.get("Cmd") or ()),
            user=raw.get("User") or "",
            workdir=raw.get("WorkingDir") or "",
            labels=tuple(sorted((raw.get("Labels") or {}).items())),
            ports=tuple(_port(text) for text in raw.get("ExposedPorts") or ()),
            healthcheck=raw.get("Healthcheck"),
            rest={name: value for name, value in raw.items() if name not in known and value},
        )


def _port(text: str) -> Port:
    number, _, protocol = text.partition("/")
    return Port(int(number), (protocol or "tcp").upper(), from_image=True)

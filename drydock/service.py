"""A service as a value: a container, and the command that keeps running in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drydock.graph import key_of
from drydock.inputs import inputs
from drydock.process import Process

if TYPE_CHECKING:
    from drydock.container import Container
    from drydock.image import Port


@dataclass(frozen=True)
class Service:
    """The value of the API's Service. `name` is "" unless a hostname was chosen."""

    container: Container
    args: tuple[str, ...]
    no_init: bool = False
    all_capabilities: bool = False
    name: str = ""
    digest: str = ""
    """Identifies the definition within the session."""

    def process(self) -> Process:
        """Return what is run."""
        config = self.container.config
        return Process(
            args=self.args,
            env=dict(config.env),
            user=config.user,
            workdir=config.workdir or "/",
            no_init=self.no_init,
            all_capabilities=self.all_capabilities,
        )

    async def key(self) -> str:
        """Return the key of the definition: what is run, on which files, with which inputs."""
        files = await self.container.files()
        found = await inputs(self.container, files)
        ports = [(p.port, p.protocol, p.experimental_skip_healthcheck) for p in self.ports]
        return key_of("service", files.root.key, *self.process().key(), found, ports, self.name)

    @property
    def ports(self) -> tuple[Port, ...]:
        """What it exposes."""
        return self.container.config.service_ports

    async def ready(self) -> None:
        """Make the files it runs on."""
        await self.container.files()

    @property
    def hostname(self) -> str:
        """The name it goes by in the session."""
        return self.name or f"{self.digest[:13]}.drydock.local"

    def describe(self) -> str:
        """Return what a person recognises it by."""
        return repr(" ".join(self.args))

    def with_hostname(self, name: str) -> Service:
        """Return the service under another name."""
        return replace(self, name=name)

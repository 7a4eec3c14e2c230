"""The interfaces that other modules implement. Slipway's own gates, builder and deployers implement them too."""

from typing import Annotated, Protocol

import dagger
from dagger import Doc

from pipeline.core.sdk import function, interface


@interface
class Gate(Protocol):
    """A gate of the source: a linter, a policy, a test that Slipway does not have."""

    @function
    async def check(self, source: Annotated[dagger.Directory, Doc("The folder of the service.")]) -> str:
        """Judge the source. Return one line for the log; fail to close the gate."""
        ...


@interface
class Builder(Protocol):
    """Builds the image of a service for one platform."""

    @function
    def build(
        self,
        source: Annotated[dagger.Directory, Doc("The folder of the service.")],
        platform: Annotated[str, Doc("Such as linux/arm64; empty for the engine's own.")],
    ) -> dagger.Container:
        """Return the image. Slipway labels, scans and publishes it."""
        ...


@interface
class Deployer(Protocol):
    """Deploys a release somewhere else than to Kubernetes."""

    @function
    async def deploy(
        self,
        reference: Annotated[str, Doc("The image, host/path@sha256:…")],
        environment: Annotated[str, Doc("Name of the environment, such as staging.")],
    ) -> str:
        """Deploy the image and wait until it is ready. Return the URL at which the smoke test reaches it."""
        ...

    @function
    async def rollback(self, environment: Annotated[str, Doc("Name of the environment.")]) -> str:
        """Restore what ran before `deploy`, after a failure. Return one line for the log."""
        ...


@interface
class Notifier(Protocol):
    """Notifies people: a chat, a pager, an issue. `examples/notifier` is one."""

    @function
    async def notify(
        self,
        event: Annotated[str, Doc("failed or recovered.")],
        report: Annotated[str, Doc("The report, as report.json has it.")],
    ) -> str:
        """Send the notification."""
        ...

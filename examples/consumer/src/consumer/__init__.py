"""A pipeline of one's own: Slipway's stages, with a stage between test and build and another after publish."""

from typing import Annotated

import dagger
from dagger import Doc, dag, function, object_type

NODE = "node:24-alpine@sha256:a0b9bf06e4e6193cf7a0f58816cc935ff8c2a908f81e6f1a95432d679c54fbfd"
# What nobody may leave in the source of a service.
FORBIDDEN = "FIXME"


@object_type
class Consumer:
    """Slipway, with two stages of our own."""

    @function
    async def deliver(
        self,
        source: Annotated[dagger.Directory, Doc("The root of the repository, with its .git.")],
        path: Annotated[str, Doc("The folder of the service.")] = "app",
    ) -> str:
        """Rehearse the whole chain with our stages in it; return what is announced."""
        verified = dag.slipway(source=source, path=path).verify()
        await self.nothing_is_left_open(await verified.source())
        release = verified.build().scan(rehearsal=True).publish()
        announcement = await self.announce(await release.name(), await release.reference())
        await release.deploy().smoke().at()
        return announcement

    @function
    async def ship(
        self,
        source: Annotated[dagger.Directory, Doc("The root of the repository, with its .git.")],
        webhook: Annotated[dagger.Secret, Doc("Of Slack: env:SLACK_WEBHOOK")],
        path: Annotated[str, Doc("The folder of the service.")] = "app",
        webhook_service: Annotated[dagger.Service | None, Doc("What answers at http://webhook.")] = None,
    ) -> str:
        """Rehearse with Slipway's own `ship`, and tell a chat if it fails."""
        chat = dag.notifier(webhook, webhook_service=webhook_service)
        return await dag.slipway(source=source, path=path).ship().notify(chat).summary()

    @function
    async def nothing_is_left_open(self, service: dagger.Directory) -> str:
        """Fail where a source file holds a FIXME. Between test and build."""
        checker = dag.container().from_(NODE).with_mounted_directory("/service", service).with_workdir("/service")
        return await checker.with_exec(["sh", "-c", f"! grep -rn {FORBIDDEN} src"]).stdout()

    @function
    async def announce(self, name: str, reference: str) -> str:
        """Say what was published. After publish: a chat, a catalogue, a signature would be here."""
        return f"{name} is {reference}"

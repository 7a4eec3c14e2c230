"""A pipeline of your own: Slipway's stages, with a stage between check and build and another after publish."""

from typing import Annotated

import dagger
from dagger import Doc, dag, function, object_type

NODE = "node:24-alpine@sha256:a0b9bf06e4e6193cf7a0f58816cc935ff8c2a908f81e6f1a95432d679c54fbfd"
# Not allowed in the source of a service.
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
        """Rehearse the whole chain with our stages in it; return the announcement."""
        checked = dag.slipway(source=source, path=path).check()
        await self.nothing_is_left_open(checked.context().project().directory())
        release = checked.build().scan(rehearsal=True).publish()
        announcement = await self.announce(await release.context().project().name(), await release.reference())
        await release.deploy().smoke().verified_at()
        return announcement

    @function
    async def ship(
        self,
        source: Annotated[dagger.Directory, Doc("The root of the repository, with its .git.")],
        webhook: Annotated[dagger.Secret, Doc("Of Slack: env:SLACK_WEBHOOK")],
        path: Annotated[str, Doc("The folder of the service.")] = "app",
        webhook_service: Annotated[dagger.Service | None, Doc("What answers at http://webhook.")] = None,
    ) -> str:
        """Rehearse with Slipway's own `ship`, and notify a chat if it fails."""
        chat = dag.notifier(webhook, webhook_service=webhook_service)
        return await dag.slipway(source=source, path=path).ship().notify(chat).summary()

    @function
    async def extended(
        self,
        source: Annotated[dagger.Directory, Doc("The root of the repository, with its .git.")],
        api: Annotated[str, Doc("URL of the platform that deploys, such as http://platform:8080/")],
        path: Annotated[str, Doc("The folder of the service.")] = "app",
        main: Annotated[str, Doc("The file of the source to run.")] = "src/main.js",
        api_service: Annotated[dagger.Service | None, Doc("What answers at http://platform.")] = None,
    ) -> str:
        """Ship with a gate, a builder and a deployer of another module in the place of Slipway's own."""
        extensions = dag.extensions()
        shipment = dag.slipway(source=source, path=path).ship(
            environment="preview",
            gates=[extensions.gate(marker=FORBIDDEN)],
            builder=extensions.builder(main),
            deployer=extensions.deployer(api, service=api_service),
        )
        return await shipment.summary()

    @function
    async def nothing_is_left_open(
        self, service: Annotated[dagger.Directory, Doc("The folder of the service.")]
    ) -> str:
        """Fail where a source file holds a FIXME. Between check and build."""
        checker = dag.container().from_(NODE).with_mounted_directory("/service", service).with_workdir("/service")
        return await checker.with_exec(["sh", "-c", f"! grep -rn {FORBIDDEN} src"]).stdout()

    @function
    async def announce(
        self,
        name: Annotated[str, Doc("Name of the service.")],
        reference: Annotated[str, Doc("host/path@sha256:… of the release.")],
    ) -> str:
        """Announce what was published. After publish: post to a chat or a catalogue here."""
        return f"{name} is {reference}"

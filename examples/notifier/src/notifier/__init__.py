"""Notifies a webhook that accepts Slack's messages of failures and recoveries."""

import uuid
from pathlib import Path
from typing import Annotated

import dagger
from dagger import Doc, dag, field, function, object_type

from notifier.message import message

NODE = "node:24-alpine@sha256:a0b9bf06e4e6193cf7a0f58816cc935ff8c2a908f81e6f1a95432d679c54fbfd"
SECONDS = 8


@object_type
class Notifier:
    """Implements Slipway's interface `Notifier`: one function is all that it needs."""

    webhook: Annotated[dagger.Secret, Doc("Address of the webhook: env:SLACK_WEBHOOK")] = field()
    webhook_service: Annotated[
        dagger.Service | None, Doc("What answers at http://webhook, where that is not a host of the network.")
    ] = field(default=None)

    @function(cache="never")
    async def notify(
        self,
        event: Annotated[str, Doc("failed or recovered.")],
        report: Annotated[str, Doc("The report, as report.json has it.")],
    ) -> str:
        """Post a message; fails if the webhook does not accept it within eight seconds."""
        poster = (
            dag.container()
            .from_(NODE)
            .with_env_variable("NODE_USE_SYSTEM_CA", "1")
            .with_new_file("/post.mjs", (Path(__file__).parent / "post.mjs").read_text())
            .with_new_file("/message.json", message(event, report))
            .with_mounted_secret("/run/secrets/webhook", self.webhook)
            # A new input for every message: an engine answers equal commands from its cache.
            .with_env_variable("MESSAGE", uuid.uuid4().hex)
        )
        if self.webhook_service:
            poster = poster.with_service_binding("webhook", self.webhook_service)
        return await poster.with_exec(["node", "/post.mjs", str(SECONDS)]).stdout()

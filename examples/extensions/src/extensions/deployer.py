"""A deployer: to a platform behind a webhook, which answers with the URL of the deployment."""

from pathlib import Path
from typing import Annotated

import dagger
from dagger import Doc, dag, field, function, object_type

HOST = "platform"


@object_type
class WebhookDeployer:
    """Posts {"action", "reference", "environment"} to a platform's API, which deploys and answers with a URL."""

    api: Annotated[str, Doc("URL of the platform's API.")] = field()
    image: Annotated[str, Doc("Node.")] = field()
    service: Annotated[dagger.Service | None, Doc("The API as a service; its host is then `platform`.")] = field()
    run: Annotated[str, Doc("A value that is new in each run: nothing is answered from cache.")] = field()

    @function(cache="never")
    async def deploy(
        self,
        reference: Annotated[str, Doc("The image, host/path@sha256:…")],
        environment: Annotated[str, Doc("Name of the environment.")],
    ) -> str:
        """Deploy, and return the URL at which the service answers."""
        return await self._post("deploy", reference, environment)

    @function(cache="never")
    async def rollback(self, environment: Annotated[str, Doc("Name of the environment.")]) -> str:
        """Restore what ran before."""
        return await self._post("rollback", "", environment)

    async def _post(self, action: str, reference: str, environment: str) -> str:
        client = (
            dag.container()
            .from_(self.image)
            .with_env_variable("NODE_USE_SYSTEM_CA", "1")
            .with_env_variable("RUN", self.run)
            .with_new_file("/post.mjs", (Path(__file__).parent / "post.mjs").read_text())
        )
        if self.service:
            client = client.with_service_binding(HOST, self.service)
        argv = ["node", "/post.mjs", self.api, action, reference, environment]
        return (await client.with_exec(argv).stdout()).strip()

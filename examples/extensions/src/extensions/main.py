"""The module's entry."""

import uuid
from typing import Annotated

import dagger
from dagger import Doc, function, object_type

from extensions.builder import SourceBuilder
from extensions.deployer import WebhookDeployer
from extensions.gate import MarkerGate

NODE = "node:24-alpine@sha256:a0b9bf06e4e6193cf7a0f58816cc935ff8c2a908f81e6f1a95432d679c54fbfd"
Node = Annotated[str, Doc("Node.")]


@object_type
class Extensions:
    """A gate, a builder and a deployer for Slipway."""

    @function
    def gate(self, marker: Annotated[str, Doc("The text that no file may hold.")] = "FIXME") -> MarkerGate:
        """Return a gate that fails where a source file holds a marker."""
        return MarkerGate(marker=marker)

    @function
    def builder(
        self, main: Annotated[str, Doc("The file to run, such as src/main.js.")], image: Node = NODE
    ) -> SourceBuilder:
        """Return a builder that puts the sources on Node."""
        return SourceBuilder(image=image, main=main)

    @function(cache="never")
    def deployer(
        self,
        api: Annotated[str, Doc("URL of the platform's API.")],
        image: Node = NODE,
        service: Annotated[dagger.Service | None, Doc("The API as a service; its host is then `platform`.")] = None,
    ) -> WebhookDeployer:
        """Return a deployer that calls a platform's API."""
        return WebhookDeployer(api=api, image=image, service=service, run=uuid.uuid4().hex)

"""A gate, a builder and a deployer of your own: any object with these functions is one for Slipway."""

from extensions.builder import SourceBuilder as SourceBuilder
from extensions.deployer import WebhookDeployer as WebhookDeployer
from extensions.gate import MarkerGate as MarkerGate
from extensions.main import Extensions as Extensions

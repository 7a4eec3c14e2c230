"""Images and registries: references, content, a client. No policy of Slipway."""

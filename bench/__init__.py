"""How Slipway's time compares, as ratios of one run on one machine."""

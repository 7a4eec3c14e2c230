"""The history of an environment, and the metrics computed from it."""

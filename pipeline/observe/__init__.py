"""The history of an environment, and what is computed from it."""

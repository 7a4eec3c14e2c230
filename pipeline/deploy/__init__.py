"""A release in an environment: rollout, smoke test, rollback, promotion."""

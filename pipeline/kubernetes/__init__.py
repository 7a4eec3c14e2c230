"""Kubernetes without Slipway's policy: a client, manifests, rollouts and Leases."""

"""Signature, provenance and SBOM of a release: attached by `publish`, verified by `deploy` and `promote`."""

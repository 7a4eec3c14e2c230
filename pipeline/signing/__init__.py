"""Signature, provenance and SBOM of a release: made by `publish`, asked for by `deploy` and `promote`."""

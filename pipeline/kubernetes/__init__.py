"""Kubernetes, as Slipway uses it: one namespace through kubectl, what may be applied there, and how it goes."""

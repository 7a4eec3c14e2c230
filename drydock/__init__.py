"""Slipway's embedded engine.

Where no container runtime and no Dagger Engine can be reached, `drydock` answers the part of Dagger's GraphQL API that
`pipeline/` uses, with the official SDK (`dagger-io`) as its client. It needs Linux, root and Debian's own tools; it
listens on loopback only, behind a random token, and keeps its state in one cache folder.

What it supports, what it does not and how it differs from the Dagger Engine: docs/engine.md.
"""

__version__ = "0.1.0"

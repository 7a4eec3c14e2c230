"""`python -m drydock`: the embedded engine's command line."""

from __future__ import annotations

from drydock.cli import main

raise SystemExit(main())

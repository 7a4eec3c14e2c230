"""Take a containerised service from source to production: verify, build, scan, publish, deploy, smoke.

Each stage returns a type, and the next stage is a method of that type only, so no stage can be skipped:

    verify → build → scan → publish → deploy → smoke

`ship` runs them all. With no registry it rehearses: the same functions, against a throwaway registry and a
throwaway environment.
"""

from pipeline.slipway import Slipway as Slipway

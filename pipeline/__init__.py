"""Take a containerised service from source to production: check, build, scan, publish, deploy, smoke.

Each stage returns a type, and the next stage is a method of that type only, so no stage can be skipped:

    check → build → scan → publish → deploy → smoke

`ship` runs them all. Without a registry it is a rehearsal: the same functions, against a throwaway registry and a
throwaway environment.
"""

from pipeline.slipway import Slipway as Slipway

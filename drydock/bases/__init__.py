"""Base images made out of packages, for machines with package registries but no image registry.

`recipe_for` answers what can stand in for a reference; a recipe fills an empty directory with a root file system and
says in its `note` what is really used.
"""

from drydock.bases.catalog import recipe_for
from drydock.bases.recipe import Recipe, Say

__all__ = ["Recipe", "Say", "recipe_for"]

"""Model families: each file is one kind of model, found by its name. Importing this folder needs no TensorFlow."""

from noria.components.trainer.families.base import Family
from noria.core.seams import Seam

__all__ = ["FAMILIES", "Family"]

FAMILIES = Seam(Family, __name__, "trainer.family")

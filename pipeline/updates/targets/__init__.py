"""What model updates are sent to, by name. One more is one more file here, or a class of the user's by import path."""

from noria.core.seams import Seam
from noria.pipeline.updates.targets.base import Target

TARGETS = Seam(Target, "noria.pipeline.updates.targets", "updates")

"""The drift measures, by name. One more is one more file here, or a class of the user's by import path."""

from noria.components.data_gate.measures.base import Measure
from noria.core.seams import Seam

MEASURES = Seam(Measure, "noria.components.data_gate.measures", "gates.data.measures")

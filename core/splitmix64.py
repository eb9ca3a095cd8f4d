"""SplitMix64's finalizer, which spreads the bits of whole numbers."""

import numpy as np


def mix(values: np.ndarray) -> np.ndarray:
    """Hashes of values, uint64 (Steele et al., "Fast splittable pseudorandom number generators", 2014)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))

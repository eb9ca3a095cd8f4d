"""The value that means "missing" in an input of the signature `predict`, whose tensors have a value in each row.

Standard library only.
"""

# By the type's name, in numpy's way and in TensorFlow's. Empty text is missing in Noria's data too.
MISSING: dict[str, float | int | bytes] = {
    "float32": float("nan"),
    "float": float("nan"),
    "int64": -(2**63),
    "string": b"",
}

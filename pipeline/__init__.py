"""The pipeline: config, the DAG, runners, the command line."""

import importlib.metadata


def __getattr__(name: str) -> str:
    """`__version__`: of the installed package; `setup.py` says it."""
    if name == "__version__":
        return importlib.metadata.version("noria")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

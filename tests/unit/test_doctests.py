"""The examples in the docstrings: each one gives what it says."""

import doctest
import importlib
from pathlib import Path

import pytest

from noria.components.keras3 import ensure_keras3

ROOT = Path(__file__).parents[2]
ROOMS = ("pipeline", "serving", "ingestion", "components", "preprocessing", "schemas", "stores", "core")


def _with_examples() -> list[str]:
    """The import paths of all modules with examples. They are imported as `noria.*`, as everywhere."""
    found = []
    for folder in (*ROOMS, "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in file.read_text(encoding="utf-8"):
                name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
                found.append(name if folder == "benchmarks" else f"noria.{name}")
    return found


@pytest.mark.parametrize("name", _with_examples())
def test_examples(name: str) -> None:
    """All examples of a module are run, and there are some."""
    ensure_keras3()
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted
    assert 0 == results.failed

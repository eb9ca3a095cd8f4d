"""The modules as a whole: what people import from them, and that no two of them need each other."""

import ast
import graphlib
import itertools
import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "stores", "schemas", "preprocessing", "components", "ingestion", "serving", "pipeline")
# docs/python-api.md: "- `noria.core.errors`: `NoriaError`, `did_you_mean`".
LISTED = re.compile(r"^- `(noria\.[a-z_.]+)`: (.+(?:\n  .+)*)$", re.MULTILINE)
API = {
    module: re.findall(r"`(\w+)`", names)
    for module, names in LISTED.findall((ROOT / "docs" / "python-api.md").read_text(encoding="utf-8"))
}


def test_no_two_modules_import_each_other() -> None:
    """The graph of imports has no cycle, those inside of functions and for types included."""
    graph = grimp.build_graph(*(f"noria.{room}" for room in ROOMS))
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the cycle
    assert "noria.pipeline.cli.app" in imports


@pytest.mark.parametrize("module", API)
def test_exported_members(module: str) -> None:
    """`__all__` of a public module names what docs/python-api.md lists, and all of it is there."""
    path = ROOT.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(file.read_text(encoding="utf-8"))  # read, not imported: some need TensorFlow
    defined: set[str] = set()
    exported: list[str] = []
    branches = [
        node.body + node.orelse for node in tree.body if isinstance(node, ast.If)
    ]  # such as TYPE_CHECKING
    for node in itertools.chain(tree.body, *branches):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            defined.add(node.targets[0].id)
            if node.targets[0].id == "__all__":
                exported = ast.literal_eval(node.value)
    assert sorted(API[module]) == sorted(exported)
    assert set() == set(exported) - defined

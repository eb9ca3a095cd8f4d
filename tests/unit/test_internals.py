"""Private names of TFX's libraries: where they may be used, and that the page about them is complete."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "stores", "schemas", "preprocessing", "components", "ingestion", "serving", "pipeline")
INTERNALS = ROOT / "components" / "internals"
PAGE = ROOT / "docs" / "internals.md"

# The modules that each library documents; whatever else it holds is internal.
PUBLIC = {
    "apache_beam": {"apache_beam"},
    "keras": {"keras"},
    "ml_metadata": {"ml_metadata", "ml_metadata.errors", "ml_metadata.metadata_store", "ml_metadata.proto"},
    "tensorflow": {"tensorflow"},
    "tensorflow_data_validation": {"tensorflow_data_validation"},
    "tensorflow_model_analysis": {
        "tensorflow_model_analysis",
        "tensorflow_model_analysis.constants",
        "tensorflow_model_analysis.metrics",
        "tensorflow_model_analysis.proto",
        "tensorflow_model_analysis.proto.config_pb2",
        "tensorflow_model_analysis.slicer",
        "tensorflow_model_analysis.utils",
    },
    "tensorflow_transform": {
        "tensorflow_transform",
        "tensorflow_transform.beam",
        "tensorflow_transform.beam.analyzer_cache",
    },
    "tfx_bsl": {"tfx_bsl", "tfx_bsl.public", "tfx_bsl.public.tfxio"},
    # Those that TFX's guides to components, executors and runners import.
    "tfx": {
        "tfx",
        "tfx.components",
        "tfx.dsl.components.base",
        "tfx.dsl.components.common",
        "tfx.dsl.experimental.conditionals",
        "tfx.orchestration.beam.beam_dag_runner",
        "tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner",
        "tfx.orchestration.pipeline",
        "tfx.proto",
        "tfx.types",
        "tfx.utils",
    },
}
# TFX documents these packages with all that is in them.
WHOLE = (
    "apache_beam",
    "ml_metadata.proto",
    "tfx.components",
    "tfx.dsl.components",
    "tfx.dsl.experimental.conditionals",
    "tfx.proto",
    "tfx.types",
    "tfx.utils",
)


def _is_module(name: str) -> bool:
    top, *rest = name.split(".")
    found = importlib.util.find_spec(top)  # imports nothing, unlike with a dot in the name
    assert found is not None and found.submodule_search_locations is not None, top
    path = Path(found.submodule_search_locations[0]).joinpath(*rest)
    return path.is_dir() or path.with_suffix(".py").is_file()


def _is_internal(name: str) -> bool:
    """Whether a dotted name of a library is private, or is in a module that the library does not document."""
    parts = name.split(".")
    if parts[0] not in PUBLIC:
        return False
    if any(part.startswith("_") and not part.startswith("__") for part in parts):
        return True
    if any(name == whole or name.startswith(f"{whole}.") for whole in WHOLE):
        return False
    while not _is_module(".".join(parts)):
        parts.pop()
    module = ".".join(parts)
    return module not in PUBLIC[parts[0]] and not any(
        known.startswith(f"{module}.") for known in PUBLIC[parts[0]]
    )


def _chain(node: ast.expr) -> list[str]:
    """['a', 'b', 'c'] of the expression `a.b.c`; empty for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []


def names(tree: ast.Module) -> set[str]:
    """The internal names of libraries that a module uses.

    `import a.b as c; c._d` gives 'a.b._d'. A private attribute of any other object, '_d', is given where Noria itself
    does not define an attribute of that name.
    """
    aliases: dict[str, str] = {}
    used: set[str] = set()
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                used.add(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                used.add(f"{node.module}.{alias.name}")
    found = {name for name in used if _is_internal(name)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or isinstance(parents.get(node), ast.Attribute):
            continue
        chain = _chain(node)
        if chain and chain[0] in aliases:
            name = ".".join([aliases[chain[0]], *chain[1:]])
            if _is_internal(name):
                found.add(name)
    modules = {name for name in found if _is_module(name)}
    covered = {module for module in modules if any(name.startswith(f"{module}.") for name in found)}
    return (found - covered) | _private_attributes(tree, aliases)


def _private_attributes(tree: ast.Module, aliases: dict[str, str]) -> set[str]:
    result = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            chain = _chain(node)
            if not (chain and aliases.get(chain[0], "").split(".")[0] in PUBLIC):
                result.add(node.attr)
    return result - OWN - {"_exit", "_replace"}  # os._exit, and what named tuples have


def _defined(tree: ast.Module) -> Iterator[str]:
    """Names that a module gives to functions, classes, methods and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
}
OWN = {name for path, tree in TREES.items() for name in _defined(tree)}
# These are not TFX's libraries: a part of kfp's client is replaced, and Kafka's client names its own error codes so.
OTHER_LIBRARIES = {
    "pipeline/runners/kubeflow/transport.py": {"_existing_config", "_healthz_api"},
    "ingestion/streams/kafka.py": {"_AUTO_OFFSET_RESET", "_PARTITION_EOF", "_TRANSPORT"},
}

# docs/internals.md: "### `a.b`" begins a module, "- `C._d`: ..." is one of its names.
TEXT = PAGE.read_text(encoding="utf-8")
SECTIONS = [part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE) if "\n### " in part]
LISTED = {
    f"{module}.{name}"
    for section in SECTIONS
    for module, text in re.findall(r"^### `([\w.]+)`\n(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL)
    for name in re.findall(r"^- `([\w.]+)`: ", text, re.MULTILINE)
}


def test_private_names_are_in_one_package() -> None:
    """Outside of components/internals no module uses a private name or an internal module of TFX's libraries."""
    used = {path: names(tree) for path, tree in TREES.items() if not path.startswith("components/internals/")}
    assert OTHER_LIBRARIES == {path: found for path, found in used.items() if found}


def test_the_page_lists_every_name() -> None:
    """docs/internals.md lists exactly the names that components/internals uses."""
    used = set().union(
        *(names(tree) for path, tree in TREES.items() if path.startswith("components/internals/"))
    )
    last = {name.rpartition(".")[2] for name in LISTED}
    modules = {name.rpartition(".")[0] for name in LISTED}
    assert set() == used - LISTED - last - modules
    text = "\n".join(path.read_text(encoding="utf-8") for path in INTERNALS.glob("*.py"))
    assert set() == {name for name in LISTED if not re.search(rf"\b{name.rpartition('.')[2]}\b", text)}


def test_the_page_names_the_locked_releases_and_tests_that_exist() -> None:
    """Each section names the releases of both lanes, and each module a test that is there."""
    for section in SECTIONS:
        found = re.search(r"^Read in `([\w-]+)` ([\d.]+) and ([\d.]+)\.$", section, re.MULTILINE)
        assert found is not None, section[:80]
        locked = [
            re.search(rf"^{found[1]}==(\S+)", (ROOT / "locks" / f"{lane}.txt").read_text(), re.MULTILINE)[1]
            for lane in ("long-term", "current")
        ]
        assert locked == [found[2], found[3]]
        modules = re.split(r"^### ", section, flags=re.MULTILINE)[1:]
        for text in modules:
            tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
            assert tests, text[:80]
            for file, name in tests:
                assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"

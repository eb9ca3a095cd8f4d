"""The package: what it declares against what it imports and what the repository holds."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from distutils.core import run_setup
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import noria.pipeline

ROOT = Path(__file__).parents[2]
# Modules that are not called like their package.
PACKAGES = {
    "grpc": "grpcio",
    "yaml": "pyyaml",
    "google.protobuf": "protobuf",
    "jwt": "pyjwt",
    "tensorflow_serving": "tensorflow-serving-api",
    "opentelemetry": "opentelemetry-sdk",
    "nats": "nats-py",
}


@pytest.fixture(scope="module")
def package():
    """What setup.py says."""
    return run_setup(str(ROOT / "setup.py"), stop_after="init")


def imports(folder: Path) -> Iterator[tuple[str, Path]]:
    """The packages that the modules of a folder import, anywhere in them, with the module's path."""
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                parts = name.split(".")
                module = ".".join(parts[:2]) if parts[0] == "google" else parts[0]
                if module not in sys.stdlib_module_names and module != "noria":
                    yield PACKAGES.get(module, module.replace("_", "-")), path


def test_direct_imports_are_declared(package) -> None:
    """What a module imports is a requirement of Noria; what not everybody needs has extras."""
    base = {Requirement(text).name for text in package.install_requires}
    # A file or folder may import what the extra of its name has, and these.
    own = {name: name for name in package.extras_require if name != "dev"} | {
        "objects": "object-store",
        "segments": "stream",
        "streams": "kafka",
        "kafka_settings": "kafka",
        "event_formats": "registry",
        "stores": "signing",
    }
    extras = {
        part: {Requirement(text).name for text in package.extras_require[extra]}
        for part, extra in own.items()
    }
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in package.package_dir.values()
        for name, path in imports(ROOT / folder)
        if name not in base.union(*(extras[part] for part in path.with_suffix("").parts if part in extras))
    }
    assert set() == missing


def test_one_version(package) -> None:
    """setup.py alone has the version; `__version__` and `python -m noria.pipeline --version` give the installed one."""
    version = importlib.metadata.version("noria")
    assert version == noria.pipeline.__version__
    done = subprocess.run(
        [sys.executable, "-m", "noria.pipeline", "--version"], capture_output=True, text=True
    )
    assert f"noria {version}\n" == done.stdout
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert [package.metadata.version] == re.findall(r'^    version="(.*)"', text, re.MULTILINE)
    with pytest.raises(AttributeError):
        noria.pipeline.__versions__  # noqa: B018


def test_typed(package) -> None:
    """Every folder at the root that is a package tells type checkers that it has annotations."""
    rooms = [path for name, path in package.package_dir.items() if name.count(".") == 1]
    assert [] == [room for room in rooms if not (ROOT / room / "py.typed").exists()]
    assert "py.typed" in package.package_data[""]


def test_sdist_has_the_repository() -> None:
    """MANIFEST.in names each folder and page at the root; setuptools adds packages, README and setup.py itself."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    manifest = set((ROOT / "MANIFEST.in").read_text(encoding="utf-8").split())
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    itself = rooms | {"README.md", "setup.py", "pyproject.toml", "MANIFEST.in", ".gitignore"}
    assert set() == {line.split("/")[0] for line in tracked.splitlines()} - manifest - itself

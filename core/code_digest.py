"""A digest of the code of an import path, which changes with the code.

Standard library only; nothing is executed.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from noria.core.errors import ConfigError
from noria.core.user_code import split_path

# Installed packages whose versions change what the code means.
PACKAGES = ("tensorflow-transform",)


def code_digest(import_path: str, project: str | None = None, packages: Sequence[str] = PACKAGES) -> str:
    """sha256 over the source of a function's module and of the project's own modules that it imports.

    A module belongs to the project if it is in the same top folder, or is part of noria. The digest includes the names
    of the modules and not their folder: a project has the same digest everywhere.

    Args:
      import_path: 'module.function'.
      project: folder to search as well; None or '' for the Python path only.
      packages: installed packages whose versions the digest includes.

    Returns:
      64 hexadecimal digits.

    Raises:
      ConfigError: the module cannot be found, or has a syntax error.
    """
    module, function = split_path(import_path)
    digest = hashlib.sha256(function.encode())
    for name, file in sorted(local_modules(module, project).items()):
        digest.update(f"\0{name}\0".encode())
        digest.update(file.read_bytes())
    for package in packages:
        digest.update(f"\0{package}={importlib.metadata.version(package)}".encode())
    return digest.hexdigest()


def local_modules(module: str, project: str | None = None) -> dict[str, Path]:
    """The module and, through its imports, the project's own modules: name to source file.

    Raises:
      ConfigError: the module cannot be found, or one of them has a syntax error.
    """
    find = functools.cache(lambda name: _find(name, project))
    first = find(module)
    if first is None:
        raise ConfigError(
            f"there is no module {module!r}",
            where=f"import path {module}",
            next_step="correct the import path in the config, or add the file to the project's folder",
        )
    top = module.partition(".")[0]
    folder = first.parents[module.count(".") + (first.name == "__init__.py")]
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = find(name) if name not in found else None
        if file is None or not _is_local(name, file, top, folder):
            continue
        found[name] = file
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        names = _imports(package, file.read_bytes(), name, str(file))
        waiting += [name.rpartition(".")[0], *names]  # a package runs before its modules
    return found


def _is_local(name: str, file: Path, top: str, folder: Path) -> bool:
    if name.partition(".")[0] in (top, "noria"):
        return True
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return top != "noria" and not installed and file.is_relative_to(folder)


def _find(module: str, project: str | None) -> Path | None:
    """The module's source file: in the project's folder, or where Python would import it from.

    This searches the project itself, because `sys.modules` may hold modules of another project.
    """
    if not module:
        return None
    if project:
        base = Path(project).resolve().joinpath(*module.split("."))
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return file
    above, _, name = module.rpartition(".")
    package = _find(above, project)
    if package is not None:
        # Not by find_spec, which would import the package, and TensorFlow with it.
        beside = package.parent / name
        files = (beside.with_suffix(".py"), beside / "__init__.py") if package.name == "__init__.py" else ()
        return next((file for file in files if file.is_file()), None)
    try:
        spec = importlib.util.find_spec(
            module
        )  # for a top name, or one in a namespace, this executes nothing
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).resolve()


@functools.lru_cache(maxsize=256)  # a resident process needs the same sources in every run
def _imports(package: str, source: bytes, module: str, file: str) -> tuple[str, ...]:
    """Names that the source imports; of `from a import b` both a and a.b, as b may be a module."""
    try:
        tree = ast.parse(source, filename=file)
    except SyntaxError as error:
        raise ConfigError(
            f"{module} is not valid Python: {error.msg}",
            where=f"{file}:{error.lineno}",
            next_step="correct the line and run again",
        ) from error
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if name)

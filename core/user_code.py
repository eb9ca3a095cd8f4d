"""The user's own functions, by import path ('module.function'): found, loaded, reloaded when edited.

A project's folder is added to `sys.path`. A resident process imports a module again if its source has changed, or if it
belongs to another project: otherwise an edit would have no effect.
"""

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from noria.core.errors import ConfigError, did_you_mean

_folders: list[str] = []  # projects' folders that add_project has added to sys.path, newest first
_loaded: dict[str, str] = {}  # file of a project's module -> sha256 of the source that was imported


def split_path(import_path: str, key: str = "preprocessing") -> tuple[str, str]:
    """Splits 'package.module.function' into module and function.

    Args:
      import_path: what the config says.
      key: the config's key, for the message.

    Raises:
      ConfigError: there is no dot in it, or a part is not a Python name.
    """
    module, _, name = import_path.rpartition(".")
    if not module or not all(part.isidentifier() for part in import_path.split(".")):
        raise ConfigError(
            f"{key} must be an import path 'module.function', got {import_path!r}",
            where=f"config key {key}",
            next_step=f"write it like {key}: my_features.preprocessing_fn",
        )
    return module, name


def load_function(
    import_path: str, project: str | None = None, key: str = "preprocessing"
) -> Callable[..., Any]:
    """Imports a function by its path.

    Args:
      import_path: 'module.function'.
      project: folder to search as well; None or '' for the Python path only.
      key: the config's key, for messages.

    Raises:
      ConfigError: the module is not found or fails while it is imported, or has no such function.
    """
    module_name, name = split_path(import_path, key)
    add_project(project)
    _drop_stale(project)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise _import_error(error, import_path, module_name, project, key) from error
    _check_place(module, module_name, project, key)
    _remember(project)
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(
            f"{key} names {name!r}, which {module_name} does not define as a function",
            where=module.__file__ or module_name,
            next_step=did_you_mean(name, [n for n in vars(module) if callable(getattr(module, n))])
            or f"define {name} there, or correct the config's {key}",
        )
    return function


class UserFunction:
    """A function by its import path. It pickles as the path, so that a Beam worker imports it."""

    def __init__(self, import_path: str, project: str | None = None, key: str = "preprocessing"):
        self._recipe = (import_path, project, key)
        self._function: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._function is None:
            self._function = load_function(*self._recipe)
        return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return UserFunction, self._recipe


def add_project(project: str | None) -> None:
    """Adds the project's folder to `sys.path`, once: after the libraries, before other projects' folders.

    After them, because a project's `rich.py` or `queue.py` must not replace the library of that name.
    """
    if not project:
        return
    folder = str(Path(project).resolve())
    if folder in sys.path and folder not in _folders:
        return  # the user has added it, for example by PYTHONPATH
    if _folders[:1] != [folder]:
        others = [other for other in _folders if other != folder]
        sys.path[:] = [path for path in sys.path if path not in _folders] + [folder, *others]
        _folders[:] = [folder, *others]
    importlib.invalidate_caches()


def where_defined(import_path: str, project: str | None = None) -> str:
    """'file:line' of a function's definition; the import path if it has none."""
    code = getattr(load_function(import_path, project), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else import_path


def where_it_failed(error: BaseException, files: set[str] | None = None) -> str | None:
    """'file:line' of the error's innermost frame in one of the files; without files, in no installed package.

    A SyntaxError has its own place.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if files is not None and frame.filename in files:
            return f"{frame.filename}:{frame.lineno}"
        if files is None and "site-packages" not in frame.filename and not frame.filename.startswith("<"):
            return f"{frame.filename}:{frame.lineno}"
    return None


def _import_error(
    error: Exception, import_path: str, module_name: str, project: str | None, key: str
) -> ConfigError:
    if isinstance(error, ModuleNotFoundError) and error.name and module_name.startswith(error.name):
        place = f"the project folder {project}" if project else "the Python path"
        names = [path.stem for path in Path(project).glob("*.py")] if project else []
        return ConfigError(
            f"{key} is {import_path!r}, but there is no module {error.name!r} on {place}",
            where=f"config key {key}",
            next_step=did_you_mean(module_name, names) or f"add {error.name}.py, or correct the config",
        )
    return ConfigError(
        f"{key} is {import_path!r}, and importing {module_name} failed: {type(error).__name__}: {error}",
        where=where_it_failed(error) or module_name,
        next_step=f"correct it there; `python -c 'import {module_name}'` repeats the failure",
    )


def _check_place(module: ModuleType, module_name: str, project: str | None, key: str) -> None:
    """Raises ConfigError if an installed module was imported although the project has one of that name."""
    if not project:
        return
    folder = Path(project).resolve()
    own = folder / f"{module_name.replace('.', '/')}.py"
    if own.exists() and not Path(module.__file__ or "").resolve().is_relative_to(folder):
        raise ConfigError(
            f"the project's module {module_name} has the same name as {module.__file__}",
            where=own,
            next_step=f"rename {own.name}, and change {key} in the config",
        )


def _modules_of(project: str | None) -> list[tuple[str, ModuleType, Path]]:
    """The imported modules whose files are in the project's folder."""
    if not project:
        return []
    # Strings: TensorFlow and TFX are 8,000 modules, which take 0.2 s as Paths.
    folder = os.path.join(Path(project).resolve(), "")
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and name != "__main__" and file.startswith(folder) and file.endswith(".py"):
            found.append((name, module, Path(file)))
    return found


def _drop_stale(project: str | None) -> None:
    """Removes the project's modules if one was edited, and another project's modules with the same names."""
    if not project:
        return
    folder = Path(project).resolve()
    own = _modules_of(project)
    if any(_loaded.get(str(file)) not in (None, _digest(file)) for _, _, file in own):
        for name, _, _ in own:
            del sys.modules[name]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file not in _loaded or Path(file).is_relative_to(folder):
            continue
        top = name.partition(".")[0]
        if (folder / f"{top}.py").exists() or (folder / top).is_dir():
            del sys.modules[name]


def _remember(project: str | None) -> None:
    for _, _, file in _modules_of(project):
        if file.exists():
            _loaded[str(file)] = _digest(file)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "missing"

"""Seams: places where one more kind of a thing is one more file.

A seam is a folder with a base class in `base.py` and one file for each kind. The file's name is the kind's name, and
the class in it is the only subclass of the base that it defines. A user's kind has an import path for a name, such as
`my_project.measures.Hellinger`, and lives in the user's project.

    seam = Seam(Measure, "noria.components.data_gate.measures", "gates.data.measures")
    seam.names()                                 # ("js", "kl", "linf", "psi"): nothing is imported
    seam.find("psi")                             # the class
    seam.find("my_project.measures.Hellinger")   # a user's class
"""

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import Any, Generic, TypeVar

from noria.core.errors import ConfigError, did_you_mean
from noria.core.user_code import load_function

Kind = TypeVar("Kind")


class Seam(Generic[Kind]):
    """The kinds of one seam, by name.

    Args:
      base: what every kind is a subclass of.
      package: the folder of the kinds, as an import path.
      key: the config key in which a user names a kind; for messages.
    """

    def __init__(self, base: type[Kind], package: str, key: str):
        self.base = base
        self.package = package
        self.key = key
        self._names: tuple[str, ...] | None = None  # the files of a package do not change while it runs

    def names(self) -> tuple[str, ...]:
        """The names of Noria's own kinds, sorted. Imports none of them."""
        if self._names is None:
            spec = importlib.util.find_spec(self.package)
            folders = list(spec.submodule_search_locations or ()) if spec is not None else []
            found = {module.name for module in pkgutil.iter_modules(folders)} - {"base"}
            self._names = tuple(sorted(name for name in found if not name.startswith("_")))
        return self._names

    def choices(self) -> str:
        """What a user may write, for descriptions: the names, or an import path."""
        return f"{', '.join(f'`{name}`' for name in self.names())}, or the import path of your own"

    def check_name(self, name: str) -> str:
        """Returns a name that one of Noria's own kinds has, or that is an import path. Imports nothing.

        Raises:
          ValueError: it is neither; with the nearest name.
        """
        if name in self.names() or ("." in name and all(part.isidentifier() for part in name.split("."))):
            return name
        hint = did_you_mean(name, self.names())
        known = ", ".join(self.names())
        raise ValueError(
            f"must be one of {known}, or an import path such as my_project.module.Class, got {name!r}"
            + (f"; {hint}" if hint else "")
        )

    def check_entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Returns an entry of the config, `{NAME: settings}`, whose name is right. Imports nothing.

        Raises:
          ValueError: it has not one name, or `check_name` refuses it.
        """
        if len(entry) != 1:
            raise ValueError(f"must have one name, got {', '.join(entry) or 'none'}")
        self.check_name(next(iter(entry)))
        return entry

    def find(self, name: str, project: Path | str | None = None) -> type[Kind]:
        """The class of a kind.

        Args:
          name: the name of one of Noria's own kinds, or the import path of a user's class.
          project: the folder of the user's project, in which the import path is searched first.

        Raises:
          ConfigError: there is no such kind, it cannot be imported, or it is not a subclass of the base.
        """
        try:
            self.check_name(name)
        except ValueError as error:
            raise self._error(str(error), "correct the name") from None
        if "." not in name:
            module = importlib.import_module(f"{self.package}.{name}")
            return next(kind for kind in vars(module).values() if self._is_kind(kind, module.__name__))
        kind: Any = load_function(name, None if project is None else str(project), self.key)
        if not self._is_kind(kind):
            base = f"{self.base.__module__}.{self.base.__name__}"
            raise self._error(
                f"{name!r} must be a subclass of {base}, got {kind!r}", "derive it from this class"
            )
        return kind

    def all(self) -> dict[str, type[Kind]]:
        """Noria's own kinds by name; imports them."""
        return {name: self.find(name) for name in self.names()}

    def _is_kind(self, kind: object, module: str | None = None) -> bool:
        if not isinstance(kind, type) or not issubclass(kind, self.base) or kind is self.base:
            return False
        return module is None or kind.__module__ == module

    def _error(self, what: str, next_step: str) -> ConfigError:
        return ConfigError(what, where=f"config key {self.key}", next_step=next_step)

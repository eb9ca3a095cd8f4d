"""A project's function: it is called in each run and returns the data."""

from typing import Any

from noria.core.errors import DataError, NoriaError
from noria.core.user_code import load_function
from noria.ingestion.sources.base import Source


class Function(Source):
    """A function without arguments; `given` is `module:function`, or the function."""

    def find(self) -> Any:
        function = self.given
        if isinstance(function, str):
            function = load_function(function.replace(":", "."), str(self.folder), "data.source")
        try:
            return function()
        except NoriaError:
            raise
        except Exception as error:
            named = (
                f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', repr(function))}"
            )
            raise DataError(
                f"the function that gives the data failed: {type(error).__name__}: {error}",
                where=f"data.source, {named}",
                next_step="correct the function or what it depends on, then run again",
            ) from error

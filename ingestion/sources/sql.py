"""SQL: the rows of a table or a query, each read once, in the order of a cursor column.

Needs SQLAlchemy and the driver of the database: `pip install "noria[sql]"` installs those of PostgreSQL, MySQL and
MariaDB; Python has the one of SQLite.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from noria.core.errors import ConfigError, DataError
from noria.ingestion import source_secrets
from noria.ingestion.sources.base import FoundFile, Source

_KEYS = {"url", "table", "query", "cursor"}
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
# Rows, and values, that are in memory at once.
BATCH_ROWS, BATCH_VALUES = 65_536, 2_000_000


class Sql(Source):
    """A database; `given` has `url`, `cursor`, and `table` or `query`.

    `url` is one of SQLAlchemy's. `${NAME}` in it comes from the environment, `${file:PATH}` from a file: so no password
    is in noria.yaml. `cursor` is a column that only grows, such as an id or the time of the insert. Each run asks for
    the rows from the cursor's last value on, and copies the new ones into files of the home folder. Rows with the
    same value of the cursor are distinguished by their other values. Rows that are committed later with a smaller
    value, and rows without a value, are not read.
    """

    @property
    def name(self) -> str:
        given = self.given if isinstance(self.given, dict) else {}
        return str(given.get("table") or "query")

    def find(self) -> Any:
        given = self._checked()
        from noria.ingestion.landing import Landing

        identity = {"table": given["table"]} if "table" in given else {}
        landing = Landing(self.landing, self.name, given["cursor"], identity)
        landing.append(self._parts(landing.position))
        if not landing.paths:
            raise DataError(
                "the database has no rows yet",
                where=f"data.source, {self.name}",
                next_step="add rows, then run again",
            )
        return [FoundFile(path, f"{self.name}-{path.stem}", only_new=True) for path in landing.paths]

    def key(self) -> str | None:
        """The table's primary key, if it is one column: what `noria init` takes for the cursor.

        Raises:
          DataError: the database cannot be read.
        """
        with self._database() as (sa, connection):
            keys = sa.inspect(connection).get_pk_constraint(*self._table())["constrained_columns"]
        return keys[0] if len(keys) == 1 else None

    def _parts(self, position: Any) -> Iterator[tuple[Sequence[str], Sequence[Sequence[Any]]]]:
        """Names of columns and rows, in the order of the cursor, from a position on."""
        with self._database() as (sa, connection):
            cursor = sa.column(self.given["cursor"])
            if "table" in self.given:
                name, schema = self._table()
                rows: Any = sa.table(name, schema=schema)
            else:
                query = (
                    self.given["query"].strip().rstrip(";").replace(":", r"\:")
                )  # no parameters of SQLAlchemy's
                rows = sa.text(f"({query}) AS events")
            statement = sa.select(sa.text("*")).select_from(rows).order_by(cursor)
            statement = statement.where(cursor.is_not(None) if position is None else cursor >= position)
            result = connection.execution_options(stream_results=True).execute(statement)
            names = list(result.keys())
            for part in result.partitions(max(1, min(BATCH_ROWS, BATCH_VALUES // len(names)))):
                yield names, part

    def _table(self) -> tuple[str, str | None]:
        schema, _, name = self.given["table"].rpartition(".")
        return name, schema or None

    def _database(self) -> "_Database":
        return _Database(self.given["url"], self.folder, f"data.source, {self.name}")

    def _checked(self) -> dict[str, str]:
        given = self.given
        if (
            not isinstance(given, dict)
            or not {"url", "cursor"} <= set(given) <= _KEYS
            or ("table" in given) == ("query" in given)
            or not all(isinstance(value, str) for value in given.values())
        ):
            raise ConfigError(
                "a source of kind sql needs the texts `url`, `cursor`, and one of `table` and `query`",
                where="config key data.source",
                next_step="write it like data: {source: {sql: {url: 'sqlite:///a.db', table: rides, cursor: id}}}",
            )
        return given


class _Database:
    """A connection to a database that says what is wrong and never shows a password. A context manager."""

    def __init__(self, url: str, folder: Path, where: str):
        try:
            import sqlalchemy
        except ImportError as error:
            raise ConfigError(
                "a source of kind sql needs SQLAlchemy, which is not installed",
                where="config key data.source",
                next_step="install it with: pip install 'noria[sql]'",
            ) from error
        self._sa: Any = sqlalchemy
        self._where = where
        self._secrets: list[str | None] = []
        self._url = self._filled(url, folder)
        self._engine: Any = None

    def __enter__(self) -> tuple[Any, Any]:
        try:
            self._engine = self._sa.create_engine(self._url, hide_parameters=True)
            self._connection = self._engine.connect()
        except Exception as error:  # each driver raises other exceptions
            self._close()
            raise self._refusal(error) from None
        return self._sa, self._connection

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._connection.close()
        self._close()
        if isinstance(error, (self._sa.exc.SQLAlchemyError, ArithmeticError)):
            raise self._refusal(error) from None

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def _filled(self, given: str, folder: Path) -> Any:
        """The URL with its secrets. They are put into its parts, so that a password may hold any sign."""
        if given.strip().startswith("${"):
            given = source_secrets.filled(given.strip(), folder)
        try:
            url = self._sa.make_url(given)
        except (self._sa.exc.ArgumentError, ValueError):
            raise DataError(
                "`url` is not a URL of SQLAlchemy",
                where=self._where,
                next_step="write it like postgresql://user:${DB_PASSWORD}@host:5432/database or sqlite:///file.db",
            ) from None
        parts = ("username", "password", "host", "database")
        written = {part: getattr(url, part) for part in parts if getattr(url, part) is not None}
        filled = {part: source_secrets.filled(str(value), folder) for part, value in written.items()}
        url = url.set(**filled, drivername=_DRIVERS.get(url.drivername, url.drivername))
        self._secrets = [filled.get("password")]
        if (
            url.get_backend_name() == "sqlite"
            and url.database
            and not url.database.startswith((":memory:", "file:"))
        ):
            path = folder / Path(url.database).expanduser()
            if not path.is_file():  # SQLite would make an empty one
                raise DataError(
                    "the database does not exist", where=path, next_step="correct `url` in data.source"
                )
            url = url.set(database=str(path))
        return url

    def _refusal(self, error: BaseException) -> DataError | ConfigError:
        reason = source_secrets.hidden(getattr(error, "orig", None) or error, self._secrets)
        if isinstance(error, ImportError):
            return ConfigError(
                f"the driver of the database is not installed: {reason}",
                where=self._where,
                next_step="install it with: pip install 'noria[sql]' (PostgreSQL, MySQL, MariaDB), or the driver of "
                "your database",
            )
        return DataError(
            f"the database cannot be read: {reason}",
            where=self._where,
            next_step="correct `url`, `table`, `query` or `cursor` in data.source, then run again",
        )

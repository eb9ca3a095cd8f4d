"""Where the data of a new project come from: files, URLs of files, or a database."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from noria.core.errors import ConfigError
from noria.ingestion.source_secrets import shown
from noria.ingestion.sources.base import Source
from noria.ingestion.sources.files import Files
from noria.ingestion.sources.remote import Remote
from noria.ingestion.sources.sql import Sql
from noria.pipeline.config.sections import is_url

PASSWORD = "NORIA_DB_PASSWORD"


@dataclasses.dataclass(frozen=True)
class Origin:
    """The source of a draft.

    Attributes:
      source: reads it.
      given: what is written to `data.source` of noria.yaml.
      name: what people know it by.
      notes: what they should know.
    """

    source: Source
    given: str | dict[str, Any]
    name: str
    notes: tuple[str, ...] = ()


def origin(
    data: str, folder: Path, landing: Path, table: str | None, query: str | None, cursor: str | None
) -> Origin:
    """The source that the arguments of `noria init` mean.

    Args:
      data: a path, a glob, a URL of files, or with `table` or `query` a URL of SQLAlchemy.
      folder: the new project.
      landing: where the source keeps copies.
      table, query: of a database.
      cursor: the column that only grows; of a table, its primary key if None.

    Raises:
      ConfigError: the arguments do not fit together.
      DataError: the database cannot be read.
    """
    here = Path.cwd()
    if table or query:
        return _database(data, folder, landing, table, query, cursor)
    if re.match(r"(postgresql|mysql|mariadb|sqlite|oracle|mssql)(\+\w+)?://", data):
        raise ConfigError(
            "a database needs the rows to read",
            where="--data",
            next_step='add --table NAME, or --query "SELECT ..."; and --cursor COLUMN, a column that only grows',
        )
    if is_url(data):
        hidden = "?" in data or "@" in data
        note = "the URL is in noria.yaml as it was given: replace a token or a password in it by ${NAME}"
        return Origin(Remote(data, here, landing), data, shown(data), (note,) if hidden else ())
    path = Path(data).expanduser()
    given = os.path.relpath(path.absolute(), folder.absolute())
    return Origin(Files(data, here, landing), given, path.name)


def _database(
    data: str, folder: Path, landing: Path, table: str | None, query: str | None, cursor: str | None
) -> Origin:
    if table and query:
        raise ConfigError(
            "--table and --query cannot both be set", where="--query", next_step="give one of the two"
        )
    notes = []
    what = {"table": table} if table else {"query": str(query)}
    if table and not cursor:
        cursor = Sql({"url": data, "table": table, "cursor": ""}, Path.cwd(), landing).key()
        if cursor:
            notes.append(
                f"rows are read in the order of the primary key {cursor!r}, which must grow: or set --cursor"
            )
    if not cursor:
        raise ConfigError(
            "a database needs a column that shows which rows are new",
            where="--cursor",
            next_step="name a column that only grows, such as an id or the time of the insert, with --cursor",
        )
    source = Sql({"url": data, **what, "cursor": cursor}, Path.cwd(), landing)
    url = data
    password = re.match(r"[\w+]+://[^:/@]*:(.*)@", data)
    if password and not re.fullmatch(r"\$\{.+\}", password[1]):
        url = data[: password.start(1)] + f"${{{PASSWORD}}}" + data[password.end(1) :]
        notes.append(
            f"the password is not in noria.yaml: set the environment variable {PASSWORD} before `noria run`"
        )
    if file := re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/:].*)", data):
        url = file[1] + os.path.relpath(Path(file[2]).absolute(), folder.absolute())
    given = {"sql": {"url": url, **what, "cursor": cursor}}
    return Origin(source, given, table or "a query", tuple(notes))

"""Where ML Metadata keeps what ran: a SQLite file in the home folder, or a MySQL or PostgreSQL server."""

import socket
from typing import Any

from google.protobuf import text_encoding
from ml_metadata import errors, metadata_store
from ml_metadata.proto import metadata_store_pb2

from noria.core.errors import ConfigError
from noria.pipeline.config import Config

SECONDS = 10


def connection(config: Config) -> Any:
    """The connection for TFX, a `ConnectionConfig`; one to a server is tested.

    Raises:
      ConfigError: the server does not answer, or refuses ML Metadata.
    """
    protos: Any = metadata_store_pb2  # mypy does not see the generated classes
    result = protos.ConnectionConfig()
    server = config.metadata_server()
    if server is None:
        result.sqlite.filename_uri = str(config.home_path / "metadata.sqlite")
        result.sqlite.connection_mode = protos.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return result
    if server["kind"] == "mysql":
        mysql = result.mysql
        # For `localhost`, MySQL's client uses a Unix socket and ignores the port.
        mysql.host = "127.0.0.1" if server["host"] == "localhost" else server["host"]
        mysql.port, mysql.database = int(server["port"]), server["database"]
        mysql.user, mysql.password = server["user"], server["password"]
    else:
        postgres = result.postgresql
        postgres.host, postgres.port = server["host"], str(server["port"])
        postgres.dbname, postgres.user = server["database"], server["user"]
        postgres.password = server["password"]
    _try(result, server)
    return result


def secrets(config: Config) -> list[str]:
    """What no log may show: the server's password, also as escaped in a text proto."""
    password = (config.metadata_server() or {}).get("password")
    if not password:
        return []
    return list(dict.fromkeys([text_encoding.CEscape(password.encode(), as_utf8=False), password]))


def _try(connect: Any, server: dict[str, Any]) -> None:
    """Opens the store once, as ML Metadata's errors lack the reason: its MySQL error has an empty text."""
    name = f"{server['kind']}://{server['user']}@{server['host']}:{server['port']}/{server['database']}"
    try:
        socket.create_connection((server["host"], int(server["port"])), SECONDS).close()
    except OSError as error:
        raise ConfigError(
            f"ML Metadata's server does not answer: {error.strerror or error}",
            where=f"metadata: {name}",
            next_step="start the server, or correct the config's `metadata`",
        ) from None
    try:
        metadata_store.MetadataStore(connect)
    except (errors.StatusError, RuntimeError) as error:
        advice = "check user and password, and that the user may create tables in the database"
        if server["kind"] == "mysql":
            advice += "; the user must be IDENTIFIED WITH mysql_native_password, the only method that ML Metadata has"
        message = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"ML Metadata cannot use the server: {message}", where=f"metadata: {name}", next_step=advice
        ) from None

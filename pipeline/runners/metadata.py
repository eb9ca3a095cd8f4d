"""Where ML Metadata keeps what ran: a SQLite file in the home folder, or a MySQL or PostgreSQL server."""

import socket
from typing import Any

from google.protobuf import text_encoding
from ml_metadata import errors, metadata_store
from ml_metadata.proto import metadata_store_pb2

from noria.core.errors import ConfigError
from noria.pipeline.config import Config

SECONDS = 10


def connection(config: Config) -> metadata_store_pb2.ConnectionConfig:
    """The connection for TFX, tried out where it is a server's.

    Raises:
      ConfigError: nothing answers at the server's port, or it does not let ML Metadata in.
    """
    result = metadata_store_pb2.ConnectionConfig()
    server = config.metadata_server()
    if server is None:
        result.sqlite.filename_uri = str(config.home_path / "metadata.sqlite")
        result.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return result
    if server["kind"] == "mysql":
        mysql = result.mysql
        # MySQL's client takes `localhost` for a Unix socket at a place of its own, whatever the port.
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
    """What no log may show: the server's password, as it is and as a text proto writes it."""
    password = (config.metadata_server() or {}).get("password")
    if not password:
        return []
    return list(dict.fromkeys([text_encoding.CEscape(password.encode(), as_utf8=False), password]))


def _try(connect: metadata_store_pb2.ConnectionConfig, server: dict[str, Any]) -> None:
    """Opens the store once. ML Metadata's own errors leave out why: its MySQL error has an empty text."""
    name = f"{server['kind']}://{server['user']}@{server['host']}:{server['port']}/{server['database']}"
    try:
        socket.create_connection((server["host"], int(server["port"])), SECONDS).close()
    except OSError as error:
        raise ConfigError(
            f"nothing answers where ML Metadata's server should be: {error.strerror or error}",
            where=f"metadata: {name}",
            next_step="start the server, or correct the config's `metadata`",
        ) from None
    try:
        metadata_store.MetadataStore(connect)
    except (errors.StatusError, RuntimeError) as error:
        advice = "check that the user or password is right and that the user may make tables in the database"
        if server["kind"] == "mysql":
            advice += (
                "; the user must be IDENTIFIED WITH mysql_native_password, the only way ML Metadata knows"
            )
        said = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"ML Metadata cannot use the server: {said}", where=f"metadata: {name}", next_step=advice
        ) from None

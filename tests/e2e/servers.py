"""Database servers that tests start in a new folder on a free port.

Needs the Debian packages `postgresql` and `mariadb-server`.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

USER, PASSWORD, DATABASE = "noria", "wheel@7/runs", "runs"  # a password that a URL must quote


class Server:
    """A server that runs, with a database and a user who may do anything in it and nothing elsewhere."""

    def __init__(self, scheme: str, port: int):
        self.scheme = scheme
        self.port = port

    def url(self, password: str = PASSWORD, database: str = DATABASE) -> str:
        return f"{self.scheme}://{USER}:{quote(password, safe='')}@localhost:{self.port}/{database}"

    def store(self) -> metadata_store.MetadataStore:
        """Opens the server's database as anybody would, without Noria."""
        config = metadata_store_pb2.ConnectionConfig()
        if self.scheme == "mysql":
            where = config.mysql
            where.port, where.database = self.port, DATABASE
        else:
            where = config.postgresql
            where.port, where.dbname = str(self.port), DATABASE
        where.host, where.user, where.password = "127.0.0.1", USER, PASSWORD
        return metadata_store.MetadataStore(config)


@contextlib.contextmanager
def started(scheme: str) -> Iterator[Server]:
    """A fresh server, `postgresql` or `mysql`."""
    # Not pytest's folder, which other users cannot enter, and short: a Unix socket's path has 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="noria-", dir="/tmp"))
    folder.chmod(0o755)
    start: Callable[[Path, int], contextlib.AbstractContextManager] = {
        "postgresql": postgresql,
        "mysql": mariadb,
    }[scheme]
    try:
        port = free_port()
        with start(folder, port):
            yield Server(scheme, port)
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def postgresql(folder: Path, port: int) -> Iterator[None]:
    """PostgreSQL with password authentication only."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3].split(".")[0])
    )
    initdb = str(found[-1]) if found else binary("initdb", "postgresql")
    postgres = str(Path(initdb).with_name("postgres"))
    drop = as_user("postgres", folder)
    data, secret = folder / "data", folder / "secret"
    secret.write_text("admin")
    run(
        [
            *drop,
            initdb,
            "-D",
            str(data),
            "-U",
            "admin",
            f"--pwfile={secret}",
            "-A",
            "scram-sha-256",
            "--no-sync",
        ]
    )
    command = [*drop, postgres, "-D", str(data), "-p", str(port), "-k", str(folder), "-F"]
    with running([*command, "-c", "listen_addresses=127.0.0.1"], folder / "log", signal.SIGINT):
        psql = [str(Path(initdb).with_name("psql")), "-h", "127.0.0.1", "-p", str(port), "-U", "admin"]
        ask = [*psql, "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c"]
        wait_for([*ask, "SELECT 1"], folder / "log", PGPASSWORD="admin")
        run([*ask, f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"], PGPASSWORD="admin")
        run([*ask, f"CREATE DATABASE {DATABASE} OWNER {USER}"], PGPASSWORD="admin")
        yield


@contextlib.contextmanager
def mariadb(folder: Path, port: int) -> Iterator[None]:
    """MariaDB, whose users have passwords (`mysql_native_password`, its default)."""
    package = "mariadb-server"
    install, client = binary("mariadb-install-db", package), binary("mariadb", package)
    daemon, data, plug = binary("mariadbd", package), folder / "data", folder / "socket"
    as_user("mysql", folder)
    user = ["--user=mysql"] if os.geteuid() == 0 else []
    options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    run([install, "--no-defaults", *user, f"--datadir={data}", *options])
    command = [daemon, "--no-defaults", *user, f"--datadir={data}", f"--port={port}", f"--socket={plug}"]
    command += ["--bind-address=127.0.0.1", f"--pid-file={folder / 'pid'}"]
    with running(command, folder / "log", signal.SIGTERM):
        ask = [client, "--no-defaults", f"--socket={plug}", "-u", "root", "-e"]
        wait_for([*ask, "SELECT 1"], folder / "log")
        run([*ask, f"CREATE DATABASE {DATABASE}"])
        run([*ask, f"CREATE USER {USER}@localhost IDENTIFIED BY '{PASSWORD}'"])
        run([*ask, f"GRANT ALL ON {DATABASE}.* TO {USER}@localhost"])
        yield


def binary(name: str, package: str) -> str:
    """A program's path; a test that cannot find it fails and says what to install."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install {package}")
    return found


def as_user(name: str, folder: Path) -> list[str]:
    """What comes before a command of a server that will not run as root; gives its user the folder."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, name, name)
    return [binary("setpriv", "util-linux"), f"--reuid={name}", f"--regid={name}", "--clear-groups"]


@contextlib.contextmanager
def running(command: list[str], log: Path, stop: signal.Signals) -> Iterator[None]:
    """Runs a server, and stops it when the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd="/tmp", start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(command: list[str], **environment: str) -> None:
    """Runs a command to its end; its words are in the failure."""
    done = subprocess.run(
        command, cwd="/tmp", capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )
    assert 0 == done.returncode, f"{command[0]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def wait_for(command: list[str], log: Path, seconds: float = 60, **environment: str) -> None:
    """Repeats a question to the server until it answers."""
    until = time.monotonic() + seconds
    while True:
        try:
            return run(command, **environment)
        except AssertionError as error:
            if time.monotonic() > until:
                raise AssertionError(f"{error}\n{log.read_text()[-2000:]}") from None
            time.sleep(0.2)


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return plug.getsockname()[1]

"""Where a home can be: in a folder, and in an object store that a real server process keeps.

Whatever uses the object store runs in a forked child (`in_child`): obstore's threads do not survive a fork.
"""

import contextlib
import http.client
import http.server
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.helpers.killed import killed_at

BUCKET = "homes"


class Folder:
    """A home in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def open(self, copy: str = "copy") -> Path:
        return self.folder / "home"

    def killed_at(self, n: int, work: Callable[[Path], object]) -> bool:
        """Kills a process that does `work` just before its n-th step; False if it ended before that."""
        return killed_at(n, self.folder / "home", lambda: work(self.open()))

    def served(self) -> dict[str, bytes]:
        """What a model server finds: the files of the numbered versions that have a `saved_model.pb`."""
        root = self.folder / "home" / "models" / "m"
        found = {path.relative_to(root).as_posix(): path for path in root.glob("[0-9]*/**/*")}
        return _complete({name: path.read_bytes() for name, path in found.items() if path.is_file()})


class ObjectStore:
    """A home in an object store: each `copy` is another machine."""

    def __init__(self, folder: Path, server: str, name: str, scheme: str = "s3"):
        self.folder, self.server, self.url = folder, server, f"{scheme}://{BUCKET}/{name}"
        self._prefix = name

    def open(self, copy: str = "copy") -> Path:
        from noria.core.objects import home

        home.POLL = 0.02
        return home.mount(self.url, self.folder / copy)

    def killed_at(self, n: int, work: Callable[[Path], object]) -> bool:
        """As `Folder.killed_at`: odd steps are just before a write to the store, even ones just after it."""

        def child() -> None:
            from noria.core.objects import store

            steps = 0

            def step() -> None:
                nonlocal steps
                steps += 1
                if steps == n:
                    os.kill(os.getpid(), signal.SIGKILL)

            for name in ("put", "put_new", "delete"):
                setattr(store.ObjectStore, name, _around(getattr(store.ObjectStore, name), step))
            work(self.open())

        return _forked(child) is None

    def served(self) -> dict[str, bytes]:
        """What TF Serving finds below `<url>/models/m/`."""
        prefix = f"{self._prefix}/models/m/"
        page = self._get(f"?list-type=2&prefix={prefix}")
        keys = [each.text for each in ET.fromstring(page).iter() if each.tag.endswith("}Key")]
        files = {}
        for key in keys:
            files[key.removeprefix(prefix)] = self._get(f"/{key}")
        return _complete(files)

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(
            f"{self.server}/{BUCKET}{path}", headers={"Authorization": "AWS key:signature"}
        )
        return urllib.request.urlopen(request).read()


Place = Folder | ObjectStore


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """A process that speaks S3's protocol (moto), with an empty bucket; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with (folder / "moto.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"))
                break
            assert process.poll() is None and time.monotonic() < deadline, "the server has not started"
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def google_server(s3: str) -> Iterator[str]:
    """What Google Cloud Storage's XML API has in common with S3's, in front of an S3 server; yields its URL.

    Two differences matter (https://cloud.google.com/storage/docs/xml-api): the header of the condition, and the
    deletion of an object that is not there, which is an error.
    """
    port = int(s3.rpartition(":")[2])

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            path, _, query = self.path.partition("?")
            path = urllib.parse.quote(urllib.parse.unquote(path))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {"Authorization": "AWS key:signature", "Content-Type": "application/octet-stream"}
            if self.headers.get("x-goog-if-generation-match") == "0":
                headers["If-None-Match"] = "*"
            if self.command == "DELETE" and self._ask("HEAD", path, b"", headers)[0] == 404:
                return self._send(404, [], b"")
            self._send(*self._ask(self.command, f"{path}?{query}", body, headers))

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

        def _ask(
            self, method: str, path: str, body: bytes, headers: dict[str, str]
        ) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            found = answer.status, answer.getheaders(), answer.read()
            connection.close()
            return found

        def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() in ("etag", "last-modified", "content-type"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def environment(server: str) -> dict[str, str]:
    """What a user sets to use a server that speaks S3's protocol."""
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked process; its error is raised here."""
    result = _forked(work)
    assert result is not None, "the process was killed"
    return result[0]


def _forked(work: Callable[[], Any]) -> tuple[Any] | None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer: tuple[Any, Any] = (work(), None)
        except BaseException as error:
            traceback.print_exc()
            answer = (None, error)
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert signal.SIGKILL == os.WTERMSIG(status)
        return None
    result, error = pickle.loads(data)
    if error is not None:
        raise error
    return (result,)


def _around(method: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        step()
        result = method(*args)
        step()
        return result

    return counted


def _complete(files: dict[str, bytes]) -> dict[str, bytes]:
    versions = {
        name.split("/")[0] for name in files if name[0].isdigit() and name.endswith("/saved_model.pb")
    }
    return {name: data for name, data in files.items() if name.split("/")[0] in versions}

"""What a home asks of an object store, and what it refuses."""

import http.server
import threading
from pathlib import Path

import pytest

from noria.core.errors import StoreError
from noria.core.locks import hold
from tests.contract.home import places


class Careless(http.server.BaseHTTPRequestHandler):
    """A server that ignores conditions, as some that speak S3's protocol do: every write succeeds."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        body = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_store_without_conditions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets a lock there, as two could get it at once."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in places.environment(f"http://127.0.0.1:{server.server_port}").items():
            monkeypatch.setenv(name, value)

        def locks() -> None:
            from noria.core.objects import home

            with hold(home.mount("s3://homes/careless", tmp_path)):
                pass

        with pytest.raises(StoreError, match="ignores the condition"):
            places.in_child(locks)
        server.shutdown()

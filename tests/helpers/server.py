"""A real server in a separate process."""

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator


class Running:
    """A server, and how a test asks it."""

    def __init__(self, process: subprocess.Popen, rest: int, grpc: int):
        self.process, self.rest, self.grpc = process, rest, grpc

    def ask(
        self, path: str, body: object = None, method: str | None = None, **headers: str
    ) -> tuple[int, object]:
        """Status and body: JSON where it is JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest}{path}", data, names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode()

    def predict(self, body: object, where: str = "/v1/models/default") -> tuple[int, object]:
        return self.ask(f"{where}:predict", body)

    def wait(self, holds: Callable[[], bool], seconds: float = 30.0) -> None:
        """Returns when something holds; fails if it does not in time."""
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, "it did not become true in time"
            time.sleep(0.02)

    def error(self, path: str, body: object = None, method: str | None = None) -> tuple[int, str]:
        """Status and message of a refused request."""
        status, answer = self.ask(path, body, method)
        assert isinstance(answer, dict) and list(answer) == ["error"], answer
        return status, answer["error"]


@contextlib.contextmanager
def serving(*arguments: str, program: str = "serve") -> Iterator[Running]:
    """`noria serve`, until the block ends; it must end by itself then."""
    command = [sys.executable, "-m", "noria.pipeline", program, *arguments]
    process = subprocess.Popen(
        [*command, "--port", "0", "--grpc-port", "0", "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        yield Running(process, ports["rest_port"], ports["grpc_port"])
        if process.poll() is None:  # the test has not killed it
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(60)
    finally:
        process.kill()
        process.wait()

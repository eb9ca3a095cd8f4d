"""The model processes: one for each version, forked from a process that has imported TensorFlow and started nothing.

A fork costs no import of TensorFlow (seconds of processor time, hundreds of MB), and a model that crashes, hangs or
eats memory is a process that can be ended. This file is the program of both. The front starts it with a socket as
standard input. Each message there is one JSON line and one file descriptor, the model's end of a socket pair:
`{"path", "lite", "tags", "threads", "cores"}`. The fork answers on it: first `["ready"]` with the signatures or
`["failed", code, message]`, then one frame for each request `[id, feeds, fetches]`: `[id, 0, µs]` with the outputs, or
`[id, code, message]`. `["restore", path]` replaces the weights; the answer is `["ready"]` or `["failed", …]` again.
`["profile", id, "start" or "stop"]` is answered as a request, with the trace.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
from typing import Any

from noria.serving import frames
from noria.serving.grpc_status import Code, StatusError
from noria.serving.tensors import STRING, Tensor


def serve() -> None:
    """Forks a model process for each message, until the front is gone."""
    from noria.serving import session_model  # before any fork

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # TensorFlow warns about its own functions
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps; the front sees the socket end
    control = socket.socket(fileno=os.dup(0))
    control.sendall(b"ready\n")
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if not data:
            os._exit(0)
        child = os.fork()
        if child == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status = 1
            try:
                _serve_model(session_model, socket.socket(fileno=descriptors[0]), json.loads(data))
                status = 0
            except (BrokenPipeError, ConnectionResetError):
                status = 0
            finally:
                os._exit(status)  # to shut TensorFlow down takes longer than to end
        os.close(descriptors[0])
        control.sendall(f"{child}\n".encode())


def _serve_model(session_model: Any, connection: socket.socket, request: dict[str, Any]) -> None:
    # The process ends when the front is gone, and only the front ends it: a Ctrl-C in a terminal reaches all of them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    all_cores = _cores()
    if request["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, request["cores"])
    try:
        if request["lite"]:
            from noria.serving import lite_model

            model: Any = lite_model.LiteModel(request["path"], request["threads"])
        else:
            model = session_model.SessionModel(request["path"], request["tags"], request["threads"])
    except StatusError as error:
        connection.sendall(frames.encode(["failed", error.code, error.message]))
        return
    names = sorted(model.signatures)
    data = [text for name in names for text in (name.encode(), model.signatures[name])]
    ready = frames.encode(["ready"], [Tensor(STRING, (len(names), 2), data)])
    connection.sendall(ready)
    reader = frames.Reader()
    while piece := connection.recv(1 << 16):  # more would be memory that the system maps and unmaps each time
        for header, tensors in reader.feed(piece):
            if header == ["serve"]:  # the loading is over
                if all_cores:
                    os.sched_setaffinity(0, all_cores)
                continue
            if header[0] == "profile":
                connection.sendall(_profile(session_model, header[1], header[2]))
                continue
            if header[0] == "restore":
                try:
                    model.restore(header[1])
                except StatusError as error:
                    connection.sendall(frames.encode(["failed", error.code, error.message]))
                    return
                connection.sendall(ready)
                continue
            connection.sendall(_answer(model, header, tensors))


def _profile(session_model: Any, number: int, verb: str) -> bytes:
    try:
        trace = session_model.profile(verb)
    except StatusError as error:
        return frames.encode([number, error.code, error.message])
    return frames.encode([number, 0, 0], [Tensor(STRING, (1,), [trace])])


def _answer(model: Any, header: list[Any], inputs: list[Tensor]) -> bytes:
    number, feeds, fetches = header
    try:
        outputs, took = model.run(feeds, fetches, inputs)
        return frames.encode([number, 0, took], outputs)
    except StatusError as error:
        return frames.encode([number, error.code, error.message])
    except Exception as error:  # one request must not end the process
        return frames.encode([number, Code.INTERNAL, f"{type(error).__name__}: {error}"])


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


if __name__ == "__main__":
    os.dup2(2, 1)  # what a model prints is not a message
    with contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        serve()
    sys.exit(0)

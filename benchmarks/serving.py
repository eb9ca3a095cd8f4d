"""The server: throughput, latency, swaps under load, memory, and a killed process.

    python -m benchmarks.serving [--quick] [--kserve PYTHON]

The model is half_plus_two of TF Serving's tests, as tests/unit/serving/small_models.py writes it, so that what is
measured is the server. Clients and server share the machine. With --kserve, the Python of an environment with kserve
and tensorflow, KServe's server is asked before, with the same SavedModel. Writes serving.json.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure

KSERVE = measure.ROOT / "benchmarks" / "kserve_server.py"
WRITER = measure.ROOT / "tests" / "unit" / "serving" / "small_models.py"
# What each model answers to 2. Versions take turns between two of them: the same graph, or another one.
VALUES = {"half_plus_two/00000123": 3.0, "half_plus_three/00000124": 4.0, "half_plus_four/00000125": 5.0}
TWO, THREE, FOUR = VALUES
BARE = """
import json, sys, time
from noria.serving.session_model import SessionModel
from noria.serving.tensors import Tensor, pack
model = SessionModel(sys.argv[1], ["serve"], 1)
row, took = Tensor("float", (1,), pack("float", [2.0])), []
for _ in range(int(sys.argv[2])):
    started = time.perf_counter()
    model.run(["x:0"], ["y:0"], [row])
    took.append((time.perf_counter() - started) * 1000)
print(json.dumps(sorted(took)[len(took) // 2]))
"""


def publish(root: Path, version: int, model: Path) -> float:
    """Adds a version by a rename; the moment of it."""
    beside = root / f".staging-{version}"
    shutil.copytree(model, beside)
    beside.rename(root / str(version))
    return time.monotonic()


@contextlib.contextmanager
def serving(root: Path) -> Iterator[tuple[int, dict[str, int]]]:
    """`noria serve` of a model directory: its process and ports."""
    command = [
        sys.executable,
        "-m",
        "noria.pipeline",
        "serve",
        str(root),
        "--port",
        "0",
        "--grpc-port",
        "0",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)


def load(ports: dict[str, Any], protocol: str, clients: int, seconds: float) -> subprocess.Popen[str]:
    """Starts clients; `collect` gets their answers."""
    given = {
        "protocol": protocol,
        "port": ports["rest_port"],
        "grpc_port": ports["grpc_port"],
        "model": "m",
        "clients": clients,
        "seconds": seconds,
        "request": ports.get("request"),
    }
    command = [sys.executable, "-m", "benchmarks.serving_load", json.dumps(given)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=measure.ROOT)


@contextlib.contextmanager
def kserve(python: str, model: Path) -> Iterator[dict[str, Any]]:
    """KServe's server of a SavedModel: its ports, and a request of its gRPC protocol."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    command = [python, str(KSERVE), str(model), *map(str, ports)]
    environment = {
        key: value for key, value in os.environ.items() if key != "PYTHONPATH"
    }  # it has its own packages
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            request = json.loads(process.stdout.readline())["request"]
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ports[1]), 1):
                    break
                time.sleep(0.1)
            time.sleep(1.0)
            yield {"rest_port": ports[0], "grpc_port": ports[1], "request": request, "pid": process.pid}
        finally:
            process.kill()


def collect(process: subprocess.Popen[str], now: bool = False) -> tuple[list[Any], float]:
    """The answers, in the order of their moments, and the seconds of a processor that the clients took."""
    if now:
        process.terminate()
    found = json.loads(process.communicate()[0])
    return sorted(found["answers"], key=lambda each: each[0]), found["cpu_seconds"]


def throughput(
    ports: dict[str, Any],
    protocol: str,
    clients: int,
    seconds: float,
    served: dict[int, str],
    processes: dict[str, Sequence[int]],
) -> dict[str, Any]:
    """Requests a second, latency, what failed, and what a request costs of a processor: clients and server's parts."""
    collect(load(ports, protocol, clients, seconds / 4))  # warm
    before = {name: cpu_seconds(pids) for name, pids in processes.items()}
    answers, own = collect(load(ports, protocol, clients, seconds))
    used = {"clients": own} | {name: cpu_seconds(pids) - before[name] for name, pids in processes.items()}
    costs = {name: taken / len(answers) * 1e6 for name, taken in used.items()}
    return {**summary(answers), **wrong(answers, served), "cpu_us": costs}


def cpu_seconds(pids: Sequence[int]) -> float:
    """What processes have taken of the processors."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def summary(answers: list[Any]) -> dict[str, float]:
    """Requests a second, and latency in ms."""
    took = [each[1] for each in answers]
    seconds = max(each[0] for each in answers) - min(each[0] for each in answers)
    return {
        "per_second": len(answers) / seconds,
        "p50_ms": percentile(took, 0.5),
        "p99_ms": percentile(took, 0.99),
    }


def wrong(answers: list[Any], served: dict[int, str]) -> dict[str, int]:
    """Failed requests, and answers that are of no version or of another one than they say."""
    failed = [value for *_, value in answers if isinstance(value, str)]
    expected = {version: VALUES[name] for version, name in served.items()}
    mixed = [
        value
        for *_, version, value in answers
        if not isinstance(value, str)
        and (value != expected[version] if version else value not in expected.values())
    ]
    return {"failed": len(failed), "mixed": len(mixed)}


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def model_processes(pid: int) -> list[int]:
    return [each for child in children(pid) for each in children(child)]


def unique(pids: Sequence[int]) -> int:
    """Bytes that these processes have for themselves."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))
    return total


def swaps(
    pid: int,
    ports: dict[str, int],
    root: Path,
    models: Path,
    served: dict[int, str],
    pair: Sequence[str],
    count: int,
) -> dict[str, Any]:
    """New versions under 8 clients, one after the other; the p99 within each swap against the one between them.

    When a version begins to answer is found in the answers: to ask for it often would slow the server down.
    """
    gap, first = 1.0, max(served) + 1
    process = load(ports, "both", 8, 6.0 + count * (gap + 2.5))
    time.sleep(5.0)
    renames, memory = [], []
    for version in range(first, first + count):
        served[version] = pair[version % 2]
        renames.append(publish(root, version, models / served[version]))
        while not serves(ports["rest_port"], version):
            time.sleep(0.05)
            if time.monotonic() > renames[-1] + 60:
                raise TimeoutError(f"version {version} does not serve")
        time.sleep(0.2)
        shutil.rmtree(root / str(version - 1))
        if version % 10 == 0:
            memory.append(unique([pid, *model_processes(pid)]))
        time.sleep(gap)
    answers, _ = collect(process, now=True)
    spans = []
    for version, renamed in enumerate(renames, first):
        new = VALUES[served[version]]
        spans.append((renamed, next(each[0] for each in answers if each[0] > renamed and each[3] == new)))
    inside = [each[1] for each in answers if any(start <= each[0] <= end + 0.2 for start, end in spans)]
    outside = [
        each[1]
        for each in answers
        if each[0] < spans[-1][1] and not any(start <= each[0] <= end + 0.4 for start, end in spans)
    ]
    delays = [end - start for start, end in spans]
    return {
        "swaps": count,
        "answers": len(answers),
        **wrong(answers, served),
        "steady_p99_ms": percentile(outside, 0.99),
        "swap_p99_ms": percentile(inside, 0.99),
        "rename_to_traffic_median_s": percentile(delays, 0.5),
        "rename_to_traffic_max_s": max(delays),
        "memory_mb": [round(each / 1e6) for each in memory],
    }


def serves(port: int, version: int) -> bool:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/m", timeout=30) as answer:
        states = json.load(answer)["model_version_status"]
    return any(each["version"] == str(version) and each["state"] == "AVAILABLE" for each in states)


def kill(pid: int, ports: dict[str, int], served: dict[int, str]) -> dict[str, Any]:
    """SIGKILL of the model process under 8 clients: what fails, and for how long nothing is answered."""
    process = load(ports, "both", 8, 5.0)
    time.sleep(3.0)
    for victim in model_processes(pid):
        os.kill(victim, signal.SIGKILL)
    answers, _ = collect(process)
    moments = [each[0] for each in answers]
    gap = max(after - before for before, after in zip(moments, moments[1:], strict=False))
    return {**wrong(answers, served), "answers": len(answers), "longest_silence_s": gap}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    made = measure.parser(__doc__)
    made.add_argument("--kserve", help="the Python of an environment with kserve and tensorflow")
    options = measure.options(made, argv)
    machine, seconds = options.machine(), options.size(8.0, 1.0)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        models, root = Path(folder) / "models", Path(folder) / "m"
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, str(WRITER), str(models)], check=True, env=environment)
        bare = [sys.executable, "-c", BARE, str(models / TWO), str(options.size(5000, 200))]
        done = subprocess.run(bare, check=True, capture_output=True, text=True, env=environment)
        result["bare_call_ms"] = json.loads(done.stdout)
        if options.given.kserve:
            with kserve(options.given.kserve, models / TWO) as ports:
                for protocol, name in (("rest", "rest"), ("v2", "grpc")):
                    for clients in (1, 8):
                        result[f"kserve_{name}_{clients}"] = throughput(
                            ports, protocol, clients, seconds, {1: TWO}, {"server": [ports["pid"]]}
                        )
        root.mkdir()
        publish(root, 1, models / TWO)
        served = {1: TWO}
        with serving(root) as (pid, ports):
            processes = {"front": [pid], "model": model_processes(pid)}
            for protocol in ("rest", "grpc"):
                for clients in (1, 8):
                    result[f"{protocol}_{clients}"] = throughput(
                        ports, protocol, clients, seconds, served, processes
                    )
            result["version_own_mb"] = unique(model_processes(pid)) / 1e6
            for kind, pair in (("weights", (TWO, THREE)), ("graph", (TWO, FOUR))):
                count = options.size(50, 2)
                result[f"swap_{kind}"] = swaps(pid, ports, root, models, served, pair, count)
            result["kill"] = kill(pid, ports, served)
    if options.given.kserve:
        options.given.kserve = "PYTHON"  # where it is on this machine is of no use elsewhere
    options.save("serving", result, machine)
    rows = [
        (name, found["per_second"], found["p50_ms"], found["p99_ms"], found["failed"] + found["mixed"])
        for name, found in result.items()
        if isinstance(found, dict) and "per_second" in found
    ]
    measure.show("Single rows", ["clients", "requests a second", "p50 ms", "p99 ms", "wrong"], rows)
    pairs = [
        ("bare session call, ms", result["bare_call_ms"]),
        ("a version's own memory, MB", result["version_own_mb"]),
    ]
    pairs += [
        (f"{part}: {name}", value)
        for part in ("swap_weights", "swap_graph", "kill")
        for name, value in result[part].items()
    ]
    measure.show("Swaps, memory, a killed process", ["", ""], pairs)


if __name__ == "__main__":
    main()

"""The Beam path on a portable runner, as on Flink or Spark: job service and workers are separate processes.

What leaves the process must pickle, and find its code where it arrives: the workers are started by the worker
pool, know nothing of the project's folder, and get what they need over gRPC and through files alone.
"""

import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from tests.helpers.project import Project

from .small import small_project

NODES = ("SpanExampleGen", "StatisticsGen", "Transform", "Evaluator")


class Runner:
    """A job service and a pool that starts a worker process for each job."""

    def __init__(self, service: int, pool: int):
        self.service, self.pool = service, pool
        self.args = [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{service}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool}",
        ]

    def wait(self, seconds: float = 120) -> None:
        """Waits until both listen."""
        until = time.monotonic() + seconds
        for port in (self.service, self.pool):
            while not listens(port):
                assert time.monotonic() < until, f"nobody listens on {port}"
                time.sleep(0.2)

    def jobs(self) -> list[str]:
        """The end state of every job that the service was given."""
        with grpc.insecure_channel(f"localhost:{self.service}") as channel:
            stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
            jobs = stub.GetJobs(beam_job_api_pb2.GetJobsRequest(), timeout=10).job_info
        return [beam_job_api_pb2.JobState.Enum.Name(job.state) for job in jobs]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Job service and worker pool, both as processes."""
    folder = tmp_path_factory.mktemp("runner")
    service, pool = free_port(), free_port()
    commands = {
        "service": ["apache_beam.runners.portability.local_job_service_main", "-p", str(service)],
        "pool": ["apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}"],
    }
    # The pool starts its workers as `python`: the environment's, as if it were activated.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    processes = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", *command],
                        cwd=folder,
                        stdout=log,
                        stderr=log,
                        env=environment,
                        # A shell starts what it puts into the background deaf to Ctrl-C, and children inherit that.
                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                    )
                )
        yield Runner(service, pool)
    finally:
        for process in reversed(processes):  # the pool ends its workers with it
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.servers
@pytest.mark.timeout(900)
def test_same_verdicts_as_in_process(runner: Runner, tmp_path: Path):
    """A warm run through the job service gives the rows, distances, verdicts and metrics of the same in process."""
    (tmp_path / "here").mkdir()
    here = small_project(tmp_path / "here", execution="in-process")
    here.json("run", "--runs", "1")
    beam = Project(Path(shutil.copytree(here.folder, tmp_path / "beam")))
    beam.edit(execution="beam", beam={"args": runner.args})
    runner.wait()
    # At the same time: most of it is the workers' imports of TensorFlow, one worker after the other.
    with concurrent.futures.ThreadPoolExecutor() as both:
        results = both.map(lambda project: project.json("run", "--runs", "1")["runs"], (here, beam))
        [run], [there] = results
    jobs = runner.jobs()

    left, right = stages(here, run), stages(beam, there)
    assert {node: "in-process" for node in NODES} == {node: left[node]["path"] for node in NODES}
    assert {node: "beam" for node in NODES} == {node: right[node]["path"] for node in NODES}
    assert {node: left[node]["rows"] for node in NODES} == {node: right[node]["rows"] for node in NODES}
    assert "refreshed" == left["Transform"]["transform"] == right["Transform"]["transform"]
    for key in ("span", "mode", "data_verdict", "model_verdict", "version", "rows"):
        assert run[key] == there[key], key
    assert drift(here, run) == pytest.approx(drift(beam, there), abs=1e-6)
    # Beam may hand on the rows in another order, and the rows of a step make the model.
    assert run["metrics"]["champion"] == pytest.approx(there["metrics"]["champion"], abs=1e-6)
    assert run["metrics"]["challenger"] == pytest.approx(there["metrics"]["challenger"], abs=1e-6)
    # Examples, statistics and evaluation are a job each; Transform analyses once and transforms each split.
    assert {"DONE"} == set(jobs)
    assert 3 + 3 <= len(jobs)


def stages(project: Project, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each stage of a run noted at its end."""
    lines = (project.home / "runs" / run["run_id"] / "journal.jsonl").read_text().splitlines()
    return {r["stage"]: r for r in map(json.loads, lines) if r["event"] == "end"}


def drift(project: Project, run: dict[str, Any]) -> dict[str, float]:
    """The data verdict's distances, by feature, measure and reference."""
    [path] = (project.home / "tfx" / run["run_id"]).glob("DataGate/verdict/*/data_verdict.json")
    found = json.loads(path.read_text())["drift"]
    return {f"{d['feature']} {d['measure']} {d['reference']}": d["value"] for d in found}


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as plug:
        return plug.connect_ex(("localhost", port)) == 0


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return plug.getsockname()[1]

"""The compiled package without a volume: each task's container begins with nothing but the object store of the home."""

from pathlib import Path

import pytest

from tests.contract.home import places
from tests.helpers.project import Project

from .kubeflow_backend.backend import Backend, Run
from .kubeflow_backend.release import NEXT
from .small import small_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class Machine(Project):
    """The project on a machine that has never seen its home."""

    def __init__(self, folder: Path, server: str, cache: Path):
        super().__init__(folder, forked=True)
        self._own = {**places.environment(server), "NORIA_CACHE": str(cache)}

    def env(self) -> dict[str, str]:
        return {**super().env(), **self._own}


def _done(run: Run) -> Run:
    failed = {name: run.logs.get(name, "")[-4000:] for name in run.named("Failed")}
    assert "SUCCEEDED" == run.state, failed
    return run


def test_tasks_need_no_volume(tmp_path: Path) -> None:
    """A cold run, and a warm run of its champion; a machine elsewhere has the status and the pages of both.

    Each task is a container that sees the home for the first time. None mounts a volume.
    """
    with places.s3_server(tmp_path) as server:
        settings = places.environment(server)
        store = {"name": "store", "env": {name.lower().replace("_", "-"): name for name in KEYS}}
        kubeflow = {
            "project": str(tmp_path),
            "secrets": [store],
            "per_task": {"Trainer": {"memory": "2Gi"}},
            "tasks": {"env": {name: value for name, value in settings.items() if name not in KEYS}},
        }
        project = small_project(tmp_path, home=f"s3://{places.BUCKET}/small", kubeflow=kubeflow)
        machine = Machine(project.folder, server, tmp_path / "cache")
        package = tmp_path / "pipeline.yaml"
        machine.json("compile", "--output", str(package))
        secret = {key: settings[name] for key, name in store["env"].items()}
        backend = Backend(tmp_path / "buckets", secrets={"store": secret}, release=NEXT)
        cold, warm = (_done(backend.run(package, forked=True)) for _ in range(2))
        assert ["absent", "present"] == [
            run.outputs["ChampionResolver"]["champion"]["metadata"]["state"] for run in (cold, warm)
        ]
        status = machine.json("status")
        assert [(cold.run_id, "cold", 1), (warm.run_id, "warm", 2)] == [
            (run["run_id"], run["mode"], run["version"]) for run in status["runs"]
        ]
        assert {"SpanExampleGen", "Trainer", "Pusher"} <= set(status["runs"][0]["seconds"])
        assert 2 == status["champion"]
        assert warm.run_id in Path(machine.json("report")["report"]).read_text(encoding="utf-8")

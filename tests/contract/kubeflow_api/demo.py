"""What `noria submit`, `runs` and `schedule` print against the contract's server: the page's session.

python -m tests.contract.kubeflow_api.demo docs/kubeflow-runs.md    writes it into the page
python -m tests.contract.kubeflow_api.demo                          prints it
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from noria.pipeline.runners.kubeflow import tasklog

from .project import frames, write_project
from .server import Fault, KubeflowApi

PORT = 8080
BEGIN, END = "<!-- session -->\n", "<!-- /session -->\n"
SUBMIT = "noria submit --package rides.yaml"


def session(folder: Path) -> str:
    """Commands, what they print (standard error first, as it comes first), and their exit codes where not 0."""
    write_project(folder, home=str(folder / "home"))
    (folder / "token").write_text("expired", encoding="utf-8")
    parts = []
    with KubeflowApi(port=PORT) as api:
        api.now = datetime.now(timezone.utc)

        def say(command: str) -> None:
            parts.append(_run(command, folder, api.host))

        api.script = frames("SUCCEEDED")
        api.faults = [Fault("get_run", "drop", 3, after=2)]
        say(SUBMIT)
        api.script, api.faults = frames("FAILED", "FAILED"), []
        say(SUBMIT)
        _journal(folder / "home", api.runs[-1]["run_id"])  # the volume, mounted here
        say("noria runs")
        say("noria schedule create --cron '30 6 * * *' --package rides.yaml")
        say("noria schedule create --every 1h --package rides.yaml")
        say("noria schedule create --every 1h --replace --package rides.yaml")
        say("noria schedule pause rides")
        say("noria schedule list")
        api.token = "valid"
        say("noria runs --token-file token")
        assert [] == api.violations
    say("noria runs")
    return "".join(parts)


def _journal(home: Path, run_id: str) -> None:
    """What a Trainer leaves that found nothing to train on."""
    file = tasklog.folder(home, run_id) / "Trainer.jsonl"
    file.parent.mkdir(parents=True)
    failed = {
        "time": 1.0,
        "stage": "Trainer",
        "event": "failed",
        "error": "the window has no rows of the label",
    }
    file.write_text(json.dumps(failed), encoding="utf-8")


def _run(command: str, folder: Path, host: str) -> str:
    environment = {
        **os.environ,
        "HOME": str(folder),
        "COLUMNS": "120",
        "NORIA_KUBEFLOW_HOST": host,
        "NORIA_KUBEFLOW_POLL": "0.1",
        "NORIA_KUBEFLOW_RETRIES": "1",
    }
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", "noria.pipeline", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert "noria" == program
    lines = [f"$ {command}", *(line.rstrip() for line in done.stdout.splitlines() if line.strip())]
    if done.returncode:
        lines.append(f"(exit code {done.returncode})")
    return "\n".join(lines) + "\n\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = session(Path(folder))
    if len(sys.argv) < 2:
        sys.stdout.write(found)
        return
    page = Path(sys.argv[1])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}```\n{found.rstrip()}\n```\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

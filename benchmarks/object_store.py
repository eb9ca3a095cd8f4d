"""A warm run with its home in an object store, beside one with its home in a folder, in one run.

    python -m benchmarks.object_store [--repeats 5] [--quick]

Each run is one process, `noria run --runs 1` on the next week of the flights, in turn: the home in a folder; in the
store, with a working copy from the run before; in the store, on a machine that has never seen it, as a task on
Kubeflow. The store is a process that speaks S3's protocol (moto) on the same cores, so its own work is in the seconds,
and the network is not. Writes object_store.json.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import measure
from tests.contract.home import places

TITLES = {
    "folder": "a folder",
    "store": "an object store, from the same machine",
    "elsewhere": "an object store, from a new machine",
}


def project(folder: Path, home: str) -> Path:
    """The flights example with another home; its folder."""
    shutil.copytree(
        measure.ROOT / "examples" / "flights", folder, ignore=shutil.ignore_patterns("noria-home")
    )
    settings = yaml.safe_load((folder / "noria.yaml").read_text(encoding="utf-8"))
    (folder / "noria.yaml").write_text(yaml.safe_dump({**settings, "home": home}), encoding="utf-8")
    return folder


def run(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """One run in a process: the seconds of the command, and those of the run in it."""
    command = [str(Path(sys.executable).with_name("noria")), "run", "--runs", "1", "--json"]
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    wall = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    (made,) = json.loads(done.stdout)["runs"]
    return {"command_s": wall, "run_s": sum(made["seconds"].values()), "mode": made["mode"]}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = measure.parser(__doc__)
    parser.add_argument("--repeats", type=int, help="warm runs of each kind (default: 5)")
    options = measure.options(parser, argv)
    repeats = options.size(5, 1) if options.given.repeats is None else options.given.repeats
    machine = options.machine()
    with tempfile.TemporaryDirectory() as scratch, places.s3_server(Path(scratch)) as server:
        base, log = Path(scratch), Path(scratch) / "moto.log"
        settings = places.environment(server)
        homes = {name: f"s3://{places.BUCKET}/{name}" for name in TITLES} | {"folder": "home"}
        folders = {name: project(base / name, home) for name, home in homes.items()}
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in TITLES}
        for number in range(repeats + 1):
            for name, folder in folders.items():
                cache = base / f"{name}-{number if name == 'elsewhere' else 0}"
                asked = len(log.read_text().splitlines())
                made = run(folder, {**settings, "NORIA_CACHE": str(cache)})
                made["requests"] = len(log.read_text().splitlines()) - asked
                if number:  # the first one is cold, and ingests the year
                    found[name].append(made)
                print(f"{TITLES[name]}: {made['mode']}, {made['command_s']:.1f} s", flush=True)
    result = {
        name: {
            key: statistics.median(each[key] for each in runs) for key in ("command_s", "run_s", "requests")
        }
        | {"runs": runs}
        for name, runs in found.items()
    }
    options.save("object_store", result, machine)
    measure.show(
        "A warm run with its home in",
        ["", "command, seconds", "stages, seconds", "requests"],
        [
            (TITLES[name], each["command_s"], each["run_s"], int(each["requests"]))
            for name, each in result.items()
        ],
    )


if __name__ == "__main__":
    main()

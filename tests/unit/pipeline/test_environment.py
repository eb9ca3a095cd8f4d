"""How Noria was installed, from the metadata of real and of made-up packages, and what doctor says about it."""

import importlib
import importlib.metadata
import json
from pathlib import Path

import pytest

from noria.pipeline import doctor, environment


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that come before the environment's own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(folder: Path, name: str, version: str, **files: str) -> None:
    """The metadata of an installed package; `files` are further lines, by file."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    more = files.pop("METADATA", "")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}")
    for file, text in files.items():
        (info / file.replace("direct_url", "direct_url.json")).write_text(text)
    importlib.invalidate_caches()


def test_against_a_lock() -> None:
    """A missing package and another version are named; one whose marker is for another machine is skipped."""
    version = importlib.metadata.version("rich")
    text = (
        f"rich=={version} \\\n    --hash=sha256:00\n"
        "typer==0.0.1\nno-such-package==1.0 \\\n"
        "only-there==2.0 ; sys_platform == 'win32' \\\n"
    )
    found = environment.differences(text)
    assert 2 == len(found)
    assert found[0].startswith("typer is ") and found[0].endswith(", not 0.0.1")
    assert "no-such-package is missing" == found[1]


def test_clone(packages: Path) -> None:
    """In a clone that is installed editable, `make setup` repairs; the lock is the one with the installed TFX."""
    root = packages / "a clone"
    (root / "locks").mkdir(parents=True)
    tfx = importlib.metadata.version("tfx")
    (root / "locks" / "other.txt").write_text("absl-py==1.4.0 \\\ntfx==1.15.0 \\\n")
    (root / "locks" / "mine.txt").write_text(f"absl-py==1.4.0 \\\ntfx=={tfx} \\\n")
    source = {"url": root.as_uri(), "dir_info": {"editable": True}}
    install(packages, "noria", "0.1.0", direct_url=json.dumps(source))
    assert (root, root / "locks" / "mine.txt") == (environment.clone(), environment.lock())
    assert "make setup" == environment.how_to_install("kubeflow")


@pytest.mark.parametrize(
    "files",
    [{}, {"direct_url": '{"url": "file:///somewhere/noria-0.1.0-py3-none-any.whl", "archive_info": {}}'}],
)
def test_pip(packages: Path, files: dict[str, str]) -> None:
    """After `pip install` of a wheel there is no clone and no lock, and pip repairs."""
    install(packages, "noria", "0.1.0", **files)
    assert (None, None) == (environment.clone(), environment.lock())
    assert "pip install 'noria[kubeflow]'" == environment.how_to_install("kubeflow")


def test_wrong_package_after_pip_install(packages: Path) -> None:
    """What does not meet Noria's requirements is a problem with pip's next step; an extra's requirements are none."""
    requires = "Requires-Dist: typer>=1000\nRequires-Dist: rich>=1\nRequires-Dist: no-such; extra == 'dev'\n"
    install(packages, "noria", "0.1.0", METADATA=requires)
    (check, *_) = doctor.packages()
    assert doctor.PROBLEM == check.state
    assert "not as noria 0.1.0 requires: typer>=1000" == check.found
    assert "pip install 'typer>=1000'" == check.next_step


def test_tfx_of_another_machine(packages: Path) -> None:
    """TFX's wheels for a newer C library are a problem, although they are installed."""
    install(
        packages, "tfx-bsl", "1.21.0", WHEEL="Wheel-Version: 1.0\nTag: cp310-cp310-manylinux_2_99_x86_64\n"
    )
    check = list(doctor.machine())[-1]
    assert doctor.PROBLEM == check.state
    assert "tfx-bsl 1.21.0 was built for cp310-cp310-manylinux_2_99_x86_64" == check.found
    assert check.next_step


def test_this_machine() -> None:
    """The environment that runs the tests has TFX, built for this machine."""
    assert [doctor.OK, doctor.OK] == [check.state for check in doctor.machine()]

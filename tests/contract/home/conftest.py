"""The places of a home, for its contract."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.home.places import (
    Folder,
    ObjectStore,
    Place,
    environment,
    google_server,
    s3_server,
)

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server."""
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture(scope="session")
def google(server: str) -> Iterator[str]:
    """The URL of a server in place of Google's."""
    with google_server(server) as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def fresh(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Place]:
    """Makes an empty home."""
    # A kill loses nothing that the kernel has; a disk that is busy would take minutes of the suite.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    server = "" if place == "folder" else request.getfixturevalue("server")
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    if place == "gs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", request.getfixturevalue("google"))

    def make() -> Place:
        number = next(_numbers)
        folder = tmp_path / str(number)
        folder.mkdir()
        if not server:
            return Folder(folder)
        return ObjectStore(folder, server, f"home-{number}", place)

    return make

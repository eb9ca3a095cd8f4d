"""Which versions of a folder are in memory, with versions that load at once."""

import asyncio
import types
from pathlib import Path

import pytest

from noria.serving.batching import Limits, Queue
from noria.serving.grpc_status import Code, StatusError
from noria.serving.model import Model
from noria.serving.prometheus import Metrics
from noria.serving.protos import model_server_config_pb2
from noria.serving.version import State, Version

MEBIBYTES = 1 << 20


class Loaded:
    """A version whose process has 60 MiB."""

    def __init__(self, number: int, folder: Path):
        self.number, self.folder, self.mark, self.graph = number, folder, ("as it is",), ""
        self.queue = None
        self.state, self.error, self.process, self.live = State.START, None, None, False

    async def load(self, cores: object, standby: object, before: object) -> None:
        self.state, self.process = State.AVAILABLE, types.SimpleNamespace(memory=60 * MEBIBYTES, pid=0)


class Quick(Loaded):
    """Ready at once."""

    async def load(self, cores: object, standby: object, before: object) -> None:
        await super().load(cores, standby, before)
        self.live = True

    async def unload(self) -> None:
        self.state = State.END


def follow(root: Path, max_memory: int) -> dict[int, Loaded]:
    """The versions after 1, and then 2, were published."""
    config = model_server_config_pb2.ModelConfig(name="m", base_path=str(root))
    config.model_version_policy.all.SetInParent()
    traffic = types.SimpleNamespace(ended=lambda version: False)
    model = Model(config, Loaded, 0, 16, max_memory, False, False, lambda made: traffic)  # type: ignore[arg-type]
    for number in (1, 2):
        (root / str(number)).mkdir(parents=True)
        asyncio.run(model.follow())
    return model.versions  # type: ignore[return-value]


def test_a_version_that_does_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    """It counts as the largest that is there. The one before stays, and the reason has the figures."""
    versions = follow(tmp_path / "small", 100 * MEBIBYTES)
    assert State.AVAILABLE == versions[1].state
    error = versions[2].error
    assert error is not None and Code.RESOURCE_EXHAUSTED == error.code
    assert "1 versions have 60 MiB, and one more would exceed the 100 MiB" in error.message
    for bound in (0, 120 * MEBIBYTES):
        versions = follow(tmp_path / str(bound), bound)
        assert [State.AVAILABLE] * 2 == [each.state for each in versions.values()]


class Ending:
    """A model process that loads, and ends at its first request."""

    pid, signatures = 0, {}

    def __init__(self):
        loop = asyncio.get_running_loop()
        self.ready, self.ended = loop.create_future(), loop.create_future()
        self.ready.set_result(None)

    def run(self, feeds, fetches, inputs, done):
        self.ended.set_result("its process ended")

    def kill(self, reason):
        pass


def test_what_was_withdrawn_does_not_wait_for_a_load(tmp_path: Path) -> None:
    """After a rollback the fallback answers at once, also while the next fallback loads."""
    seen: list[dict[int, State]] = []

    class Watching(Quick):
        async def load(self, cores: object, standby: object, before: object) -> None:
            seen.append({number: each.state for number, each in model.versions.items()})
            await super().load(cores, standby, before)

    config = model_server_config_pb2.ModelConfig(name="m", base_path=str(tmp_path))
    traffic = types.SimpleNamespace(ended=lambda version: False)
    model = Model(config, Watching, 0, 16, 0, False, True, lambda made: traffic)  # type: ignore[arg-type]
    for number in (1, 2, 3):
        (tmp_path / str(number)).mkdir()
    asyncio.run(model.follow())
    (tmp_path / "3").rename(tmp_path / ".withdrawn-3")
    asyncio.run(model.follow())
    assert [State.AVAILABLE, State.END, State.START] == [seen[-1][number] for number in (2, 3, 1)]
    latest = model.latest()
    assert latest is not None and 2 == latest.number


def test_the_twin_is_the_fallback_while_it_is_there(tmp_path: Path) -> None:
    """It answers nothing else, whatever its number is; it takes over at once, until a newer version has loaded."""

    config = model_server_config_pb2.ModelConfig(name="m", base_path=str(tmp_path))
    traffic = types.SimpleNamespace(ended=lambda version: False)

    async def loaded(model: Model) -> set[int]:
        await model.follow()
        await model.follow()
        await asyncio.gather(*model._unloading)
        return {number for number, each in model.versions.items() if each.state is State.AVAILABLE}

    def arms(model: Model) -> list[int | None]:
        return [each and each.number for each in (model.latest(), model.fallback())]

    async def main() -> None:
        alone = Model(config, Quick, 0, 16, 0, False, False, lambda made: traffic)  # type: ignore[arg-type]
        model = Model(config, Quick, 0, 16, 0, False, True, lambda made: traffic)  # type: ignore[arg-type]
        for name in ("1", "2", ".twin-3"):
            (tmp_path / name).mkdir()
        assert {2} == await loaded(alone), "without a fallback nobody loads it"
        assert ({2, 3}, [2, 3]) == (await loaded(model), arms(model))
        (tmp_path / ".twin-3").rename(tmp_path / "elsewhere")
        assert ({1, 2}, [2, 1]) == (await loaded(model), arms(model))
        (tmp_path / "elsewhere").rename(tmp_path / ".twin-3")
        assert ({2, 3}, [2, 3]) == (await loaded(model), arms(model))
        model.distrust(2)
        assert [3, None] == arms(model), "from the next batch on"
        model.distrust(3)
        assert [None, None] == arms(model), "a twin that collapses as well answers no more"
        model._distrusted.remove(3)
        # What the registry does: the twin under the next number, then the champion and the old name go.
        (tmp_path / "2").rename(tmp_path / ".withdrawn-2")
        assert ({1, 3}, [3, 1]) == (await loaded(model), arms(model))
        (tmp_path / ".twin-3").rename(tmp_path / "4")
        assert ({1, 4}, [4, 1]) == (await loaded(model), arms(model))

    asyncio.run(main())


def test_a_version_whose_process_ends_while_it_is_warmed_is_refused(tmp_path: Path) -> None:
    """At once, with the reason: nobody answers what was sent to it."""
    (tmp_path / "saved_model.pb").write_bytes(b"")

    async def main() -> StatusError:
        async def start(*given: object) -> Ending:
            return Ending()

        async def warm(version: Version) -> None:
            pass

        before = Queue("m", Limits())
        before.recent[("x",), ("y",)] = []
        spawner = types.SimpleNamespace(start=start)
        version = Version("m", 2, tmp_path, spawner, Limits(), Metrics(), warm)  # type: ignore[arg-type]
        with pytest.raises(StatusError) as caught:
            await asyncio.wait_for(version.load([], before=before), 5)
        assert State.END == version.state
        return caught.value

    assert "INTERNAL: its process ended while it was warmed" == str(asyncio.run(main()))

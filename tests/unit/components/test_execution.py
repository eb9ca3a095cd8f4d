"""Which path the stages take, and what they say about it."""

import pytest

from noria.components.execution import choose, remote_runner
from noria.core.errors import ConfigError

LARGE = 2 << 30


def test_only_more_machines_are_a_reason_for_beam():
    """Large data stays here unless Beam's runner has other machines; small data stays here in any case."""
    assert "in-process" == choose("auto", LARGE)[0]
    assert "in-process" == choose("auto", LARGE, ["--runner=DirectRunner"])[0]
    assert "in-process" == choose("auto", 1, ["--runner=FlinkRunner"])[0]
    assert "beam" == choose("auto", LARGE, ["--runner", "PortableRunner"])[0]


def test_runners():
    """A runner's name may be in any case, the path of a class, or a separate argument; the last one counts."""
    assert "DaskRunner" == remote_runner(["--runner=apache_beam.runners.dask.DaskRunner"])
    assert "flinkrunner" == remote_runner(["--runner=DirectRunner", "--runner", "flinkrunner"])
    for local in (["--runner=directrunner"], ["--runner", "PrismRunner"], ["--x=1"], ["--runner"]):
        assert remote_runner(local) is None


def test_what_the_config_says_holds():
    """A path that the config names is used for any size, with this reason; other words are refused."""
    assert ("in-process", "execution: in-process") == choose("in-process", LARGE, ["--runner=FlinkRunner"])
    assert ("beam", "execution: beam") == choose("beam", 1)
    with pytest.raises(ConfigError, match="must be one of auto, in-process, beam, got 'fast'"):
        choose("fast", 1)

"""What `benchmarks.ingredients` turns off is there, and is on again afterwards."""

import pytest

from benchmarks import ingredients
from noria.components.evaluator import model_verdict
from noria.components.trainer import normalization
from noria.components.trainer.adam import Adam
from noria.components.trainer.rescue import Alarm
from noria.pipeline.config import load
from tests.helpers import ROOT

PATCHED = {
    "clip": (normalization, "CLIP"),
    "fresh_inputs": (normalization, "_broken"),
    "restart": (Adam, "start_schedule"),
    "gate": (model_verdict, "_less_loss"),
    "replay": (Alarm, "contradicts_the_past"),
}


@pytest.mark.parametrize("off", ingredients.OFF)
def test_an_ingredient_is_off_for_a_while(off: str) -> None:
    """It is a setting that the config accepts, or a part of the program that is replaced; one of both."""
    config = load(ROOT / "examples" / "demand")
    owner, name = PATCHED.get(off, (None, ""))
    before = getattr(owner, name, None)
    with ingredients.OFF[off][1]() as changes:
        changed = ingredients.without(config, changes)
        assert (changed.model_dump() != config.model_dump()) == (off not in PATCHED and off != "nothing")
        assert type(config).model_validate(changed.model_dump(by_alias=True)) is not None
        if owner is not None:
            assert getattr(owner, name) is not before
    assert getattr(owner, name, None) is before

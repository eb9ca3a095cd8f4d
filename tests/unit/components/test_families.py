"""The contract of model families, over Noria's and over a user's in its project."""

from pathlib import Path

import pytest

from noria.components.trainer import family_contract
from noria.components.trainer.families import FAMILIES
from noria.core.errors import WarmStartError

TOWER = """
from noria.components.keras3 import ensure_keras3
from noria.components.trainer.families import Family

keras = ensure_keras3().keras


class Tower(Family):
    def build(self, features, settings):
        numeric = keras.Input((features.width,), name="numeric")
        city = keras.Input((1,), dtype="int32", name="city")
        rows, width = features.categorical[0].rows, features.categorical[0].width
        embedded = keras.layers.Flatten()(keras.layers.Embedding(rows, width, name="{name}")(city))
        x = keras.layers.Dense(8, "relu")(keras.layers.Concatenate()([embedded, numeric]))
        return keras.Model({{"numeric": numeric, "city": city}}, keras.layers.Dense(settings.outputs)(x))
"""


@pytest.mark.parametrize("name", FAMILIES.names())
def test_contract(name: str) -> None:
    """Each of Noria's families builds the same model twice, starts warm with its function preserved, and exports."""
    family_contract.check(name)


def test_contract_of_a_users_family(tmp_path: Path) -> None:
    """A class in the user's project, named by its import path, passes the same checks."""
    (tmp_path / "towers.py").write_text(TOWER.format(name="embedding_city"))
    family_contract.check("towers.Tower", tmp_path)


def test_a_family_that_hides_its_embedding(tmp_path: Path) -> None:
    """An embedding whose name does not say its feature cannot follow a refresh: the checks say so."""
    (tmp_path / "hidden.py").write_text(TOWER.format(name="table"))
    with pytest.raises(WarmStartError, match="embedding_city"):
        family_contract.check("hidden.Tower", tmp_path)

"""The stream's example: its events, its labelled views, and the files that name their columns."""

import itertools
import sys
from pathlib import Path
from types import ModuleType

import pytest

from noria.core.user_code import load_function
from noria.pipeline.config import load
from noria.schemas import loader

FOLDER = Path(__file__).parents[3] / "examples" / "recommender"


@pytest.fixture(scope="module")
def shop() -> ModuleType:
    return sys.modules[load_function("shop_events.events", str(FOLDER), "").__module__]


@pytest.fixture(scope="module")
def views() -> ModuleType:
    return sys.modules[load_function("labelled_views.labelled", str(FOLDER), "").__module__]


def test_a_day_is_the_same_in_each_call(shop: ModuleType) -> None:
    """Alone or after the day before; `new_item` comes before an item's views."""
    of_two = [event for event in shop.events(0, 2) if event["at"] >= shop.START + shop.DAY]
    alone = list(shop.events(1, 1))
    assert of_two == [event for event in alone if event["at"] >= shop.START + shop.DAY]
    seen = set()
    for event in alone:
        if event["type"] == "new_item":
            seen.add(event["item"])
        assert event["item"] in seen


def test_each_view_is_labelled_once(shop: ModuleType, views: ModuleType) -> None:
    """Each view is a row, and each purchase makes one row `bought`: the newest view of the user and the item."""
    events = list(shop.events(0, 1))
    rows = list(views.labelled(iter(events)))
    kinds = [event["type"] for event in events]
    assert [event["id"] for event in events if event["type"] == "view"] == [row["view"] for row in rows]
    bought, purchases = sum(row["bought"] for row in rows), kinds.count("purchase")
    assert 0.98 * purchases < bought < purchases  # a few users buy twice after one view
    item, user = {"item": "a"}, {"user": "u", "item": "a"}
    made = [
        {"type": "new_item", "at": 0, "category": "books", "price": 1.0, **item},
        {"type": "view", "at": 10, "id": "1", **user},
        {"type": "view", "at": 20, "id": "2", **user},
        {"type": "purchase", "at": 30, **user},
        {"type": "view", "at": 9_000, "id": "3", **user},
        {"type": "purchase", "at": 9_000 + views.WAIT + 1, **user},
    ]
    found = [(row["view"], row["bought"], row["views_last_hour"]) for row in views.labelled(made)]
    assert [("1", 0, 0), ("2", 1, 1), ("3", 0, 0)] == found


def test_the_files_name_the_same_columns(shop: ModuleType, views: ModuleType) -> None:
    """Schema, label, time and columns fit the rows."""
    [row] = itertools.islice(views.labelled(shop.events(0, 1)), 1)
    config = load(FOLDER)
    schema = loader.load(config.schema_path)
    assert {feature.name for feature in schema.feature} == set(row)
    assert config.data.columns is not None
    assert {*config.data.columns, config.label.column, config.time.column} == set(row)

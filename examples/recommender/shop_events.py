"""A shop's events as JSON lines, made from a fixed seed: `view`, `purchase` and `new_item`.

    python shop_events.py [FIRST_DAY [DAYS]]

The output begins with a `new_item` for each item that is on sale. Each day brings three more, which sell best while
they are new. A purchase comes within half an hour after a view of the item by the same user, or not at all. The shop
is closed from midnight to six.
"""

import json
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

START = 1_704_067_200  # Monday, 1 January 2024, 00:00 UTC
HOUR, DAY = 3600, 86_400
VIEWS = 3_000  # of a day
USERS = 80
ITEMS, NEW_ITEMS = 30, 3  # at first, and of each day
CATEGORIES = ("books", "games", "garden", "kitchen", "music")


def events(first: int = 0, days: int = 1, seed: int = 7) -> Iterator[dict[str, Any]]:
    """Events of the days `first` to `first + days`, by time. A day is the same in each call."""
    for item in range(ITEMS + first * NEW_ITEMS):
        yield _new_item(item)
    for day in range(first, first + days):
        yield from sorted(_day(day, seed), key=lambda event: event["at"])


def _day(day: int, seed: int) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng([seed, day])
    known = ITEMS + (day + 1) * NEW_ITEMS
    for item in range(known - NEW_ITEMS, known):
        yield _new_item(item)
    # New items are shown more often.
    weights = np.exp(-(known - 1 - np.arange(known)) / 20)
    items = random.choice(known, VIEWS, p=weights / weights.sum())
    users = random.integers(USERS, size=VIEWS)
    times = START + day * DAY + 6 * HOUR + np.sort(random.integers(17 * HOUR, size=VIEWS))
    luck = random.random((VIEWS, 2))
    for number, (at, user, item) in enumerate(
        zip(times.tolist(), users.tolist(), items.tolist(), strict=True)
    ):
        facts = {"user": f"user-{user}", "item": f"item-{item}"}
        yield {"type": "view", "at": at, "id": f"{day}-{number}", **facts}
        if luck[number, 0] < _chance(user, item, (at - _listed(item)) / DAY):
            yield {"type": "purchase", "at": at + 60 + int(luck[number, 1] * 1_700), **facts}


def _chance(user: int, item: int, age: float) -> float:
    """That a view ends in a purchase. Each user likes two of the five categories."""
    liked = item % len(CATEGORIES) in (user % len(CATEGORIES), (user * 7 + 3) % len(CATEGORIES))
    score = -3.0 + (3.0 if liked else 0.0) - 0.02 * _price(item) + 1.2 * math.exp(-age / 3)
    return 1 / (1 + math.exp(-score))


def _new_item(item: int) -> dict[str, Any]:
    facts = {"category": CATEGORIES[item % len(CATEGORIES)], "price": _price(item)}
    return {"type": "new_item", "at": _listed(item), "item": f"item-{item}", **facts}


def _listed(item: int) -> int:
    """When an item was put on sale: the first ones in the months before."""
    if item < ITEMS:
        return START - (ITEMS - item) * 3 * DAY
    return START + (item - ITEMS) // NEW_ITEMS * DAY + 6 * HOUR


def _price(item: int) -> float:
    return round(5 + 45 * (item * 0.381966 % 1), 2)


if __name__ == "__main__":
    for event in events(*map(int, sys.argv[1:3])):
        print(json.dumps(event))

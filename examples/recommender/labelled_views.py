"""From the shop's events to rows that a model can learn from: each view, with what was known then and what came of it.

    python shop_events.py 0 6 | python labelled_views.py | noria emit

A view is written when its half hour is over: `bought` is 1 if its user bought the item within it, else 0. All other
columns are known at the time of the view, so they are known when the model serves, too.
"""

import collections
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

WAIT = 1_800  # seconds after a view in which a purchase counts
POPULAR = 3_600  # seconds in which an item's views are counted


def labelled(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Labelled views, by time.

    Args:
      events: by time; the `new_item` of an item comes before its views.
    """
    items: dict[str, dict[str, Any]] = {}
    waiting: collections.deque[dict[str, Any]] = collections.deque()
    recent: dict[str, collections.deque[int]] = collections.defaultdict(collections.deque)
    for event in events:
        while waiting and waiting[0]["at"] + WAIT < event["at"]:
            yield waiting.popleft()
        item = event["item"]
        if event["type"] == "new_item":
            items[item] = event
        elif event["type"] == "purchase":
            # Of several views, the newest one led to the purchase.
            for view in reversed(waiting):
                if (view["user"], view["item"]) == (event["user"], item):
                    view["bought"] = 1
                    break
        else:
            views = recent[item]
            while views and views[0] <= event["at"] - POPULAR:
                views.popleft()
            waiting.append(
                {
                    "view": event["id"],
                    "at": event["at"],
                    "user": event["user"],
                    "item": item,
                    "category": items[item]["category"],
                    "price": items[item]["price"],
                    "age_days": round((event["at"] - items[item]["at"]) / 86_400, 3),
                    "views_last_hour": len(views),
                    "bought": 0,
                }
            )
            views.append(event["at"])
    yield from waiting


if __name__ == "__main__":
    for row in labelled(map(json.loads, sys.stdin)):
        print(json.dumps(row))

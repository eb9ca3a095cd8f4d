"""How often a client may ask: a token bucket for each."""

import time
from collections import OrderedDict
from collections.abc import Callable

MOST_CLIENTS = 10_000  # the client whose last request is the oldest is removed; its bucket is full then


class RateLimits:
    """Buckets by client.

    Args:
      clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, per_second: float, burst: float) -> float:
        """Takes one request from a client's bucket. Returns 0, or the seconds until there is one to take.

        Args:
          per_second: requests that come into the bucket.
          burst: how many it holds, at least 1.
        """
        now = self._clock()
        held, since = self._buckets.pop(client, (burst, now))
        held = min(burst, held + (now - since) * per_second)
        allowed = held >= 1.0
        self._buckets[client] = held - 1.0 if allowed else held, now
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - held) / per_second

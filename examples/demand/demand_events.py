"""Sales of five shops by the hour, 20 weeks of them, made from a fixed seed: how many items does a shop sell?

In week 12 two things change. Prices rise by a third, which the data gate sees. In the shop `office` the busy hour moves
from noon to the evening, which no column shows: only a model that keeps learning follows.
"""

import numpy as np
import pyarrow as pa

SHOPS = ("harbour", "market", "office", "station", "suburb")
WEEKS = 20
CHANGED = 11  # whole weeks before the change
START = 1_704_067_200  # Monday, 1 January 2024, 00:00 UTC
HOUR = 3600
HOURS_OF_WEEK = 7 * 24

# Items in an hour at the base price, and the hour of the day in which a shop is busiest.
_SIZE = np.array([24.0, 40.0, 30.0, 36.0, 18.0])
_BUSY = np.array([14.0, 11.0, 12.0, 8.0, 18.0])


def table(seed: int = 7) -> pa.Table:
    """16,800 rows, one for each shop and hour, by time.

    Columns: `time` (epoch seconds, UTC), `shop`, `hour` (0 to 23), `weekday` (Monday is 0), `price` (of the usual
    basket), `promotion` (0 or 1), `temperature` (°C; one reading of fifty is missing), and the label `items`.
    """
    random = np.random.default_rng(seed)
    hours = WEEKS * HOURS_OF_WEEK
    clock = np.repeat(np.arange(hours), len(SHOPS))
    shop = np.tile(np.arange(len(SHOPS)), hours)
    hour, weekday = clock % 24, clock // 24 % 7
    changed = clock >= CHANGED * HOURS_OF_WEEK

    # Each shop has its promotion days; the weather is the same for all shops.
    price = np.round(random.normal(20.0, 1.0, len(clock)) * np.where(changed, 4 / 3, 1.0), 2)
    promotion = (random.random((WEEKS * 7, len(SHOPS))) < 0.15)[clock // 24, shop]
    temperature = _temperature(random, hours)[clock]

    busy = np.where(changed & (shop == SHOPS.index("office")), 19.0, _BUSY[shop])
    distance = np.abs((hour - busy + 12) % 24 - 12)  # hours from the busy hour, around midnight
    mean = _SIZE[shop] * (0.1 + np.exp(-((distance / 4) ** 2)))
    mean *= np.where(weekday >= 5, 1.3, 1.0) * np.where(promotion, 1.4, 1.0)
    mean *= np.exp(-0.02 * (price - 20.0)) * (1 + 0.01 * (temperature - 10.0))

    return pa.table(
        {
            "time": pa.array(START + clock * HOUR),
            "shop": pa.array(np.array(SHOPS)[shop].tolist(), pa.string()),
            "hour": pa.array(hour),
            "weekday": pa.array(weekday),
            "price": pa.array(price),
            "promotion": pa.array(promotion.astype(np.int64)),
            "temperature": pa.array(np.round(temperature, 1), mask=random.random(len(clock)) < 0.02),
            "items": pa.array(random.poisson(mean).astype(np.float64)),
        }
    )


def _temperature(random: np.random.Generator, hours: int) -> np.ndarray:
    """Winter to spring, with warm afternoons, °C, `[hours]`."""
    clock = np.arange(hours)
    season = 4.0 + 12.0 * clock / hours
    daily = 4.0 * np.sin(2 * np.pi * (clock % 24 - 9) / 24)
    weather = np.repeat(random.normal(0.0, 3.0, hours // 24), 24)
    return season + daily + weather

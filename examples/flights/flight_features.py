"""Features of a flight, all of them known at its scheduled departure."""

from noria.preprocessing import features
from noria.preprocessing.features import Column, tf

LABEL = "late"

# Always there.
NUMBERS = ("distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
# Missing often, or for a reason: gusts are reported when there are some, aircraft are in the register or not.
NUMBERS_WITH_GAPS = ("wind_gust", "plane_age", "seats")
CATEGORIES = ("carrier", "origin", "dest", "hour", "weekday")

MINUTES_OF_DAY = 24 * 60
DEGREES = 360


def preprocessing_fn(inputs: dict[str, Column]) -> dict[str, tf.Tensor]:
    """Raw columns of `flight_events.table` to features `[batch]`.

    Not used: `flight` and `tailnum` (names; the aircraft's age and seats say more about it), `minute` (within
    `sched_dep_minutes`), `engines` and `manufacturer` (they add nothing to seats), `time_hour` (it only grows).
    """
    outputs = {name: features.number(inputs[name]) for name in NUMBERS}
    for name in NUMBERS_WITH_GAPS:
        outputs[name] = features.number(inputs[name])
        outputs[f"{name}_missing"] = features.missing(inputs[name])
    for name in CATEGORIES:
        outputs[name] = features.category(inputs[name], name)
    outputs |= features.circle(inputs["sched_dep_minutes"], "departure", MINUTES_OF_DAY)
    outputs |= features.circle(inputs["sched_arr_minutes"], "arrival", MINUTES_OF_DAY)
    outputs |= features.circle(inputs["wind_dir"], "wind", DEGREES)
    return outputs | features.label(inputs, LABEL)

"""What every target of model updates must do. Run it on your own in a test:

from noria.pipeline.updates.target_contract import check_target

def test_my_target():
    check_target(lambda: MyTarget("...", Path(".")), received)
"""

import json
from collections.abc import Callable, Sequence

from noria.core.errors import DeliveryError
from noria.pipeline.updates.targets.base import Target

__all__ = ["check_target"]


def check_target(
    make: Callable[[], Target],
    received: Callable[[], Sequence[bytes]],
    unreachable: Callable[[], Target] | None = None,
) -> None:
    """Checks a target that nobody else uses.

    Args:
      make: makes a target; each call one with the same receiver, which has no update at first.
      received: gives the updates that the receiver has, in their order there.
      unreachable: makes a target whose receiver does not take an update.

    Raises:
      AssertionError: the target breaks the contract; the message says where.
    """
    first, second, third = (json.dumps({"specversion": "1.0", "id": f"{i}"}).encode() for i in range(3))
    before, after = make(), make()
    for target in (before, after):
        assert isinstance(target, Target), f"{type(target).__name__} must be a subclass of Target"
        assert isinstance(target.name, str) and target.name, f"name must be a text, got {target.name!r}"
    assert before.name == after.name, f"name must be the same for the same receiver, got {after.name!r}"
    for expected in ([first], [first, second]):
        before.send(expected[-1])
        found = list(received())
        assert expected == found, f"send must return after the receiver has the update: it has {found}"
    before.close()
    # The process was killed after the second update, and before it wrote down the position behind it.
    after.send(second)
    after.send(third)
    after.close()
    found = list(dict.fromkeys(received()))  # a receiver may drop an id that it knows
    assert [first, second, third] == found, f"a new target must continue in order: the receiver has {found}"
    if unreachable is not None:
        _check_refusal(unreachable(), first)


def _check_refusal(target: Target, event: bytes) -> None:
    try:
        target.send(event)
    except DeliveryError:
        return
    finally:
        target.close()
    raise AssertionError("send must raise a DeliveryError where the receiver does not take the update")

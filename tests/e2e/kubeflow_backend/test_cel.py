"""A condition is evaluated as Kubeflow's driver does, or the error says why it cannot be."""

import pytest

from . import cel

STATE = "inputs.artifacts['news'].artifacts[0].metadata['state']"
ROWS = "inputs.artifacts['news'].artifacts[0].metadata['rows']"
INPUTS = {
    "artifacts": {"news": {"artifacts": [{"metadata": {"state": "waiting", "rows": 3.0, "a && b": "!"}}]}}
}


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        (f"({STATE} == 'waiting')", True),
        (f"!({STATE} == 'waiting')", False),
        (f"(({STATE} == 'waiting') && !({ROWS} > 3.0))", True),
        (f"(({STATE} == 'none') || ({ROWS} < 4.0))", True),
        (f"{STATE} != 'waiting' || false", False),
        (f"!({ROWS} >= 4.0) == true", True),
        (f"{STATE.replace('state', 'a && b')} == '!'", True),
    ],
)
def test_value(condition: str, value: bool) -> None:
    """Comparisons, and, or, not; a sign inside of quotes is text."""
    assert value is cel.evaluate(condition, {"inputs": INPUTS})


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (STATE.replace("news", "old") + " == 'waiting'", "no matching overload|no such key"),
        (STATE.replace("[0]", "[1]") + " == 'waiting'", "invalid_argument|no matching overload|index"),
        (STATE.replace("state", "stat") + " != 'waiting'", "no such key"),
        ("news == 'waiting'", "undeclared reference"),
        (f"{STATE} > 3.0", "no matching overload"),
        (f"{STATE} && true", "not a bool"),
        (f"!{STATE}", "no matching overload"),
        (STATE, "not a bool"),
        (f"({STATE} == 'waiting'", "waiting"),
        (f"{STATE} ==", "state"),
    ],
)
def test_error(condition: str, problem: str) -> None:
    """A missing key, an operand of the wrong type and a result that is not a bool are errors, not false."""
    with pytest.raises(cel.CelError, match=problem):
        cel.evaluate(condition, {"inputs": INPUTS})

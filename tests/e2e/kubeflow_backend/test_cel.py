"""The stand-in evaluates a condition as Kubeflow's driver does, or says why it cannot."""

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
        (STATE.replace("news", "old") + " == 'waiting'", "no such key: 'old'"),
        (STATE.replace("[0]", "[1]") + " == 'waiting'", "no such key: 1"),
        (STATE.replace("state", "stat") + " != 'waiting'", "no such key: 'stat'"),
        ("news == 'waiting'", "no such key: 'news'"),
        (f"{STATE} > 3.0", "no such overload"),
        (f"{STATE} && true", "no such overload: 'waiting'"),
        (f"true || {ROWS}", "no such overload: 3.0"),
        (f"!{STATE}", "no such overload: 'waiting'"),
        (STATE, "no such overload: 'waiting'"),
        (f"({STATE} == 'waiting'", "cannot parse"),
        (f"{STATE} ==", "cannot parse"),
        ("size('x') == 1", "TFX does not write"),
    ],
)
def test_error(condition: str, problem: str) -> None:
    """A missing key, an operand of the wrong type and what TFX does not write are errors, not false."""
    with pytest.raises(cel.CelError, match=problem):
        cel.evaluate(condition, {"inputs": INPUTS})

"""Trigger conditions: TFX's compiler writes them in CEL, Kubeflow's driver evaluates them by cel-go.

    (inputs.artifacts['ingested'].artifacts[0].metadata['state'] == 'waiting') && !(... > 3.0)

Source: kubeflow/pipelines `backend/src/v2/expression/expression.go`, Condition: the variable is the driver's view of
the inputs, a result that is not a bool is an error.
"""

from typing import Any

import celpy
from celpy import celtypes

_ENVIRONMENT = celpy.Environment()


class CelError(Exception):
    """An expression that cannot be parsed or evaluated, or is neither true nor false."""


def evaluate(expression: str, variables: dict[str, Any]) -> bool:
    """The condition's value for these variables (Kubeflow's ExecutorInput).

    Raises:
      CelError: it is not CEL, a key is missing, or an operand has the wrong type.
    """
    try:
        program = _ENVIRONMENT.program(_ENVIRONMENT.compile(expression))
        value = program.evaluate({name: celpy.json_to_cel(each) for name, each in variables.items()})
    except (celpy.CELParseError, celpy.CELEvalError) as error:
        raise CelError(f"{expression!r}: {error}") from None
    if not isinstance(value, celtypes.BoolType):
        raise CelError(f"{expression!r}: the result is {value!r}, which is not a bool")
    return bool(value)

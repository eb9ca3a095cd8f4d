"""Trigger conditions: TFX's compiler writes them in CEL, Kubeflow's driver evaluates them.

    (inputs.artifacts['ingested'].artifacts[0].metadata['state'] == 'waiting') && !(... > 3.0)

TFX writes a small part of CEL (`placeholder_to_cel`). Its grammar is Python's except for three signs, so Python's own
parser reads it. As in the backend, a missing key and an operand of the wrong type are errors, not false.
"""

import ast
import operator
import re
from typing import Any

# `~` and not `not`: it binds tighter than a comparison, as `!` does.
_SIGNS = {"&&": " and ", "||": " or ", "!": "~"}
_TOKEN = re.compile(r"('(?:[^'\\]|\\.)*')|&&|\|\||!(?!=)")
_COMPARISONS: dict[type[ast.cmpop], Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.LtE: operator.le,
    ast.GtE: operator.ge,
}


class CelError(Exception):
    """An expression that cannot be parsed or evaluated."""


def evaluate(expression: str, variables: dict[str, Any]) -> bool:
    """The condition's value for these variables (Kubeflow's ExecutorInput).

    Raises:
      CelError: the condition is not in this part of CEL, a key is missing, or an operand has the wrong type.
    """
    python = _TOKEN.sub(lambda found: found[1] or _SIGNS[found[0]], expression)
    try:
        tree = ast.parse(python.strip(), mode="eval")
    except SyntaxError as error:
        raise CelError(f"cannot parse {expression!r}: {error.msg}") from None
    return _truth(_value(tree.body, {"true": True, "false": False, **variables}))


def _value(node: ast.expr, variables: dict[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return _member(variables, name)
        case ast.Attribute(value=owner, attr=name):
            return _member(_value(owner, variables), name)
        case ast.Subscript(value=owner, slice=key):
            return _member(_value(owner, variables), _value(key, variables))
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return not _truth(_value(operand, variables))
        case ast.BoolOp(op=op, values=operands):
            truths = [_truth(_value(operand, variables)) for operand in operands]
            return all(truths) if isinstance(op, ast.And) else any(truths)
        case ast.Compare(left=first, ops=[op], comparators=[second]) if type(op) in _COMPARISONS:
            left, right = _value(first, variables), _value(second, variables)
            if not isinstance(op, (ast.Eq, ast.NotEq)) and type(left) is not type(right):
                raise CelError(f"no such overload: {ast.unparse(node)} compares {left!r} with {right!r}")
            return _COMPARISONS[type(op)](left, right)
    raise CelError(f"TFX does not write {ast.unparse(node)!r}")


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise CelError(f"no such overload: {value!r} is neither true nor false")
    return value


def _member(owner: Any, key: Any) -> Any:
    try:
        return owner[key]
    except (KeyError, IndexError, TypeError):
        raise CelError(f"no such key: {key!r}") from None

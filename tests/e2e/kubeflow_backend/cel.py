"""The part of CEL, the Common Expression Language, that TFX's compiler writes into trigger conditions.

    (inputs.artifacts['ingested'].artifacts[0].metadata['state'] == 'waiting') && !(... > 3.0)

As in the backend's evaluation: a key that is missing and an operand of the wrong type are errors, not false.
"""

import re
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>'(?:[^'\\]|\\.)*')|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||[!=<>]=|[!<>()\[\].]))"
)


class CelError(Exception):
    """An expression that does not parse, or cannot be evaluated."""


def evaluate(expression: str, variables: dict[str, Any]) -> bool:
    """The condition's value for these variables (Kubeflow's ExecutorInput)."""
    value = _Parser(expression, variables).whole()
    if not isinstance(value, bool):
        raise CelError(f"a condition must be true or false, got {value!r}")
    return value


class _Parser:
    """Recursive descent: or, and, not, comparison, selection."""

    def __init__(self, text: str, variables: dict[str, Any]):
        self._tokens: list[tuple[str, str]] = []
        self._variables = variables
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None:
                raise CelError(f"cannot read {text[place:]!r}")
            kind = found.lastgroup or ""
            self._tokens.append((kind, found[kind]))
            place = found.end()

    def whole(self) -> Any:
        value = self._or()
        if self._tokens:
            raise CelError(f"unexpected {self._tokens[0][1]!r}")
        return value

    def _take(self, *signs: str) -> str | None:
        if self._tokens and self._tokens[0][0] == "sign" and self._tokens[0][1] in signs:
            return self._tokens.pop(0)[1]
        return None

    def _need(self, sign: str) -> None:
        if self._take(sign) is None:
            raise CelError(f"expected {sign!r}, got {self._tokens[:1]}")

    def _or(self) -> Any:
        value = self._and()
        while self._take("||"):
            other = self._and()
            value = _truth(value) or _truth(other)
        return value

    def _and(self) -> Any:
        value = self._not()
        while self._take("&&"):
            other = self._not()
            value = _truth(value) and _truth(other)
        return value

    def _not(self) -> Any:
        return not _truth(self._not()) if self._take("!") else self._comparison()

    def _comparison(self) -> Any:
        left = self._selection()
        sign = self._take("==", "!=", "<", ">", "<=", ">=")
        if sign is None:
            return left
        right = self._selection()
        if sign in ("==", "!="):
            return (left == right) == (sign == "==")
        if type(left) is not type(right):
            raise CelError(f"no such overload: {left!r} {sign} {right!r}")
        return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[sign]

    def _selection(self) -> Any:
        value = self._primary()
        while True:
            if self._take("."):
                kind, name = self._tokens.pop(0)
                if kind != "name":
                    raise CelError(f"expected a field's name, got {name!r}")
                value = _member(value, name)
            elif self._take("["):
                index = self._or()
                self._need("]")
                value = _member(value, index)
            else:
                return value

    def _primary(self) -> Any:
        if self._take("("):
            value = self._or()
            self._need(")")
            return value
        if not self._tokens:
            raise CelError("the expression ends too early")
        kind, token = self._tokens.pop(0)
        if kind == "number":
            return float(token) if "." in token else int(token)
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        if kind == "name":
            return (
                {"true": True, "false": False}[token] if token in ("true", "false") else self._variable(token)
            )
        raise CelError(f"unexpected {token!r}")

    def _variable(self, name: str) -> Any:
        if name not in self._variables:
            raise CelError(f"undeclared reference to {name!r}")
        return self._variables[name]


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise CelError(f"no such overload: {value!r} is neither true nor false")
    return value


def _member(value: Any, key: Any) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        raise CelError(f"no such key: {key!r}") from None

"""JSON as TF Serving's RapidJSON reads it: `NaN` and infinities, bytes after the object, any depth, its error messages.

Three parsers, the quickest first: orjson for what is plain JSON; Python's for numbers that are no JSON; and one without
recursion for deep texts, which also finds where and what the error is.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from noria.serving.grpc_status import invalid

MAX_DEBUG = 256  # bytes of a value in an error message

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d*)?([eE][+-]?\d*)?")
_SPECIAL = re.compile(r"-?(?:Infinity|Inf)|NaN")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\.)*)"')
_PLAIN = re.compile(r'"((?:[^"\\\x00-\x1f])*)"')
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_WORDS = {"true": True, "false": False, "null": None}
_DECODER = json.JSONDecoder()


def parse(text: bytes) -> dict[str, Any]:
    """The object that a request's body holds.

    Raises:
      StatusError: it holds none.
    """
    if not text:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = _parse_leniently(text)
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {debug(value)} Is not object")
    return value


def debug(value: Any) -> str:
    """A value in an error message, cut off after some 256 bytes."""
    parts, size = [], 0
    for part in _pretty(value, "\n"):
        parts.append(part)
        size += len(part)
        if size >= MAX_DEBUG:
            break
    return "".join(parts)


def type_name(value: Any) -> str:
    """RapidJSON's name of a value's type."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    names = {"dict": "Object", "list": "Array", "str": "String"}
    return names.get(type(value).__name__, "Number")


def _parse_leniently(text: bytes) -> Any:
    if _SURROGATE.search(text):  # Python's parser accepts half of a pair
        return parse_flat(text.decode("latin-1"))
    decoded = text.decode("utf-8", "surrogateescape")
    start = _end(_SPACE, decoded, 0)
    try:
        return _DECODER.raw_decode(decoded, start)[0]
    except (ValueError, RecursionError):
        return parse_flat(text.decode("latin-1"))


def parse_flat(text: str) -> Any:
    """Parses without recursion. `text` has one character for each byte."""
    stack: list[Any] = []
    keys: list[str] = []
    place = _end(_SPACE, text, 0)
    if place == len(text):
        raise _error("The document is empty.", place)
    while True:
        # A value begins here.
        char = text[place : place + 1]
        value: Any
        if char == "[" or char == "{":
            opened: Any = [] if char == "[" else {}
            place = _end(_SPACE, text, place + 1)
            if text[place : place + 1] != ("]" if char == "[" else "}"):
                stack.append(opened)
                if char == "{":
                    key, place = _key(text, place)
                    keys.append(key)
                continue
            value, place = opened, place + 1
        else:
            value, place = _scalar(text, place)
        # A value has ended: it goes into what contains it, which may end as well.
        while True:
            if not stack:
                return value
            inside = stack[-1]
            place = _end(_SPACE, text, place)
            char = text[place : place + 1]
            if isinstance(inside, list):
                inside.append(value)
                if char not in (",", "]"):
                    raise _error("Missing a comma or ] after an array element.", place)
                if char == ",":
                    place = _end(_SPACE, text, place + 1)
                    break
            else:
                inside.setdefault(keys.pop(), value)  # the first of two equal names counts
                if char not in (",", "}"):
                    raise _error("Missing a comma or } after an object member.", place)
                if char == ",":
                    key, place = _key(text, _end(_SPACE, text, place + 1))
                    keys.append(key)
                    break
            value, place = stack.pop(), place + 1


def _key(text: str, place: int) -> tuple[str, int]:
    if text[place : place + 1] != '"':
        raise _error("Missing a name for object member.", place)
    key, place = _string(text, place)
    place = _end(_SPACE, text, place)
    if text[place : place + 1] != ":":
        raise _error("Missing a colon after a name of object member.", place)
    return key, _end(_SPACE, text, place + 1)


def _scalar(text: str, place: int) -> tuple[Any, int]:
    char = text[place : place + 1]
    if char == '"':
        return _string(text, place)
    for word, value in _WORDS.items():
        if char == word[0] and text.startswith(word, place):
            return value, place + len(word)
    special = _SPECIAL.match(text, place)
    if special is not None:
        return float(special[0]), special.end()
    number = _NUMBER.match(text, place)
    if number is None or not char:
        raise _error("Invalid value.", place)
    fraction, exponent = number.groups()
    if fraction == ".":
        raise _error("Miss fraction part in number.", number.end())
    if exponent is not None and not exponent[-1].isdigit():
        raise _error("Miss exponent in number.", number.end())
    if fraction is None and exponent is None and len(number[0]) < 21:
        whole = int(number[0])
        if -(1 << 63) <= whole < 1 << 64:
            return whole, number.end()
    try:
        return float(number[0]), number.end()
    except OverflowError:
        raise _error("Number too big to be stored in double.", place) from None


def _string(text: str, place: int) -> tuple[str, int]:
    match = _PLAIN.match(text, place)
    if match is not None:
        return _utf8(match[1]), match.end()
    match = _STRING.match(text, place)
    if match is None:
        bad = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*').match(text, place)
        end = bad.end() if bad else place
        inside = end < len(text) and text[end] != "\\" and text[end] != "\x00"
        raise _error(
            "Invalid encoding in string." if inside else "Missing a closing quotation mark in string.", end
        )
    half = _half_of_a_pair(match[1])
    if half is not None:
        raise _error("The surrogate pair in string is invalid.", place + 1 + half)
    try:
        return json.loads(f'"{_utf8(match[1])}"'), match.end()
    except ValueError:
        escape = re.search(r"\\(?:\\|[^\\])", match[1])
        raise _error(
            "Invalid escape character in string.", place + 1 + (escape.start() if escape else 0)
        ) from None


def _half_of_a_pair(text: str) -> int | None:
    """Where a string has an escaped surrogate without its other half; None if it has not."""
    high: re.Match[str] | None = None
    for each in _ESCAPE.finditer(text):
        code = int(each[1], 16) if each[1] else 0
        if high is not None:
            if not (0xDC00 <= code < 0xE000 and each.start() == high.end()):
                return high.start()
            high = None
        elif 0xDC00 <= code < 0xE000:
            return each.start()
        elif 0xD800 <= code < 0xDC00:
            high = each
    return high.start() if high is not None else None


def _utf8(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place


def _error(message: str, place: int) -> Exception:
    return invalid(f"JSON Parse error: {message} at offset: {place}")


def _pretty(value: Any, newline: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{"
        inner = f"{newline}    "
        for place, (key, each) in enumerate(value.items()):
            yield f"{',' if place else ''}{inner}{quote(key)}: "
            yield from _pretty(each, inner)
        yield f"{newline}}}" if value else "}"
    elif isinstance(value, list):
        yield "["
        for place, each in enumerate(value):
            if place:
                yield ", "
            yield from _pretty(each, newline)
        yield "]"
    elif isinstance(value, str):
        yield quote(value)
    else:
        yield json.dumps(value)


def quote(text: str) -> str:
    """A JSON string; bytes that are not UTF-8 stay as they came (surrogates)."""
    return json.dumps(text, ensure_ascii=False)

"""Tensors and results to REST bodies, as TF Serving's json_tensor.cc writes them."""

import base64
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from noria.serving.grpc_status import Code, StatusError, invalid
from noria.serving.json_text import quote
from noria.serving.tensors import STRING, Tensor

# printf's digits that are enough for any value, by type.
_DIGITS = {"float": "%.9g", "double": "%.17g"}
UNWRITTEN = ("half", "bfloat16", "complex64", "complex128")  # as in TF Serving
_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def predictions(outputs: Mapping[str, Tensor], by_row: bool) -> bytes:
    """The answer to a predict request, in the format in which it came.

    Raises:
      StatusError: outputs that cannot be put into rows.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if not by_row:
        columns = {name: _nest(_texts(name, each), each.shape) for name, each in outputs.items()}
        return (
            f'{{"outputs":{_object(columns) if len(columns) > 1 else next(iter(columns.values()))}}}'.encode(
                "utf-8", "surrogateescape"
            )
        )
    count = -1
    rows: dict[str, list[str]] = {}
    for name, tensor in outputs.items():
        if not tensor.shape:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if count >= 0 and tensor.rows != count:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {tensor.rows} expecting: {count}"
            )
        count = tensor.rows
        rows[name] = _rows(_texts(name, tensor), tensor.shape)
    if len(rows) == 1:
        texts = next(iter(rows.values()))
    else:
        names = list(rows)
        texts = [_object(dict(zip(names, each, strict=True))) for each in zip(*rows.values(), strict=True)]
    return f'{{"predictions":[{",".join(texts)}]}}'.encode("utf-8", "surrogateescape")


def classifications(result: Any) -> bytes:
    """The answer to a classify request: for each example, its pairs of label and score."""
    rows = [
        "["
        + ",".join(f"[{quote(each.label)},{decimals('float', [each.score])[0]}]" for each in row.classes)
        + "]"
        for row in result.classifications
    ]
    return f'{{"results":[{",".join(rows)}]}}'.encode()


def regressions(result: Any) -> bytes:
    """The answer to a regress request: a value for each example."""
    values = decimals("float", [each.value for each in result.regressions])
    return f'{{"results":[{",".join(values)}]}}'.encode()


def error(status: StatusError) -> bytes:
    """The body of an error."""
    return f'{{"error":{quote(status.message)}}}'.encode("utf-8", "surrogateescape")


def decimals(dtype: str, values: Sequence[float]) -> list[str]:
    """Numbers as text: six digits if they read back as the same number, else all; whole ones with `.0`."""
    texts = list(map("%g".__mod__, values))
    code = "f" if dtype == "float" else "d"
    again = array(code, map(float, texts))
    exact = array(code, values)
    if again != exact:  # also where there is a NaN
        digits = _DIGITS[dtype]
        texts = [
            text if back == value or text in _SPECIAL else digits % value
            for text, back, value in zip(texts, again, exact, strict=True)
        ]
    return [text if "." in text or "e" in text else _SPECIAL.get(text) or f"{text}.0" for text in texts]


def _texts(name: str, tensor: Tensor) -> list[str]:
    """Each element as JSON."""
    if tensor.dtype in UNWRITTEN:
        raise StatusError(Code.UNIMPLEMENTED, f"Conversion of tensor {name} of type {tensor.dtype} to JSON")
    values = tensor.values()
    if tensor.dtype in ("float", "double"):
        return decimals(tensor.dtype, values)
    if tensor.dtype == STRING:
        if name.endswith("_bytes"):
            return [f'{{"b64":"{base64.b64encode(value).decode()}"}}' for value in values]
        return [_string(value) for value in values]
    if tensor.dtype == "bool":
        return ["true" if value else "false" for value in values]
    return list(map(str, values))


def _string(value: bytes) -> str:
    try:
        return orjson.dumps(value.decode()).decode()
    except UnicodeDecodeError:
        return quote(value.decode("utf-8", "surrogateescape"))


def _rows(texts: list[str], shape: tuple[int, ...]) -> list[str]:
    """The text of each row."""
    if shape and not shape[0]:
        return []
    for size in reversed(shape[1:]):
        texts = _group(texts, size, shape)
    return texts


def _nest(texts: list[str], shape: tuple[int, ...]) -> str:
    rows = _rows(texts, shape)
    return f"[{','.join(rows)}]" if shape else rows[0]


def _group(texts: list[str], size: int, shape: tuple[int, ...]) -> list[str]:
    if size == 0:  # how many empty lists there are cannot be seen from the elements
        count = 1
        for each in shape[: shape.index(0)]:
            count *= each
        return ["[]"] * count
    return [f"[{','.join(texts[start : start + size])}]" for start in range(0, len(texts), size)]


def _object(members: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{quote(name)}:{text}" for name, text in members.items()) + "}"

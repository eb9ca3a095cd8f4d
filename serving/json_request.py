"""REST bodies to tensors and tf.Examples, as TF Serving's json_tensor.cc.

Whole columns are converted at once. Where that fails, `_exactly` goes value by value and finds TF Serving's message.
"""

import base64
import binascii
import itertools
from collections.abc import Mapping
from typing import Any

from noria.serving.grpc_status import Code, StatusError, invalid
from noria.serving.json_text import debug, type_name
from noria.serving.protos import Example
from noria.serving.signatures import Signature
from noria.serving.tensors import STRING, Tensor, pack

_INT_BOUNDS = {
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
    # TF Serving reads the smaller ones as int32, and TensorFlow keeps their lowest bits.
    **dict.fromkeys(("int32", "int16", "int8", "uint8"), (-(1 << 31), (1 << 31) - 1)),
}
_BITS = {"int16": 16, "int8": 8, "uint8": 8}


def signature_name(body: Mapping[str, Any]) -> str:
    """The signature that a body names, or ''.

    Raises:
      StatusError: the name is no string.
    """
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {debug(body)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def predict_inputs(body: Mapping[str, Any], signature: Signature) -> tuple[dict[str, Tensor], bool]:
    """The inputs in a body, and whether they are by row (`instances`) or by column (`inputs`).

    Raises:
      StatusError: the body does not fit the signature.
    """
    if not signature.inputs:
        raise invalid(f"Failed to get input map for signature: {signature.name}")
    if "instances" in body:
        if "inputs" in body:
            raise invalid(
                f"JSON Value: {debug(body)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
                "keys to exist "
            )
        rows = body["instances"]
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {debug(body)} Expecting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {debug(body)} No values in 'instances' array")
        return _by_row(rows, signature.dtypes), True
    if "inputs" in body:
        return _by_column(body["inputs"], signature.dtypes), False
    raise invalid("Missing 'inputs' or 'instances' key")


def examples_input(body: Mapping[str, Any], proto: Any) -> None:
    """Fills an Input with the `examples` of a body, and its `context`.

    Raises:
      StatusError: a feature that no tf.Example can hold.
    """
    target = proto.example_list
    if "context" in body:
        target = proto.example_list_with_context
        target.context.CopyFrom(_example(body["context"]))
    if "examples" not in body:
        raise invalid(
            f"JSON Value: {debug(body)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = body["examples"]
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {debug(body)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {debug(body)} 'examples' value is an empty array")
    for each in examples:
        target.examples.append(_example(each))


def _by_row(rows: list[Any], dtypes: Mapping[str, str]) -> dict[str, Tensor]:
    if not isinstance(rows[0], dict) and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if _is_object(rows[0]):
        names = dtypes.keys()
        if all(isinstance(row, dict) and row.keys() == names for row in rows):
            columns = {name: _quickly([row[name] for row in rows], dtype) for name, dtype in dtypes.items()}
            found = {name: tensor for name, tensor in columns.items() if tensor is not None}
            if len(found) == len(columns):
                return found
        return _exactly(rows, dtypes, True)
    (name, dtype), *_ = dtypes.items()
    tensor = _quickly(rows, dtype)
    return {name: tensor} if tensor is not None else _exactly(rows, dtypes, False)


def _by_column(value: Any, dtypes: Mapping[str, str]) -> dict[str, Tensor]:
    if not _is_object(value):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        columns = {next(iter(dtypes)): value}
    else:
        for name in dtypes:
            if name not in value:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        columns = {name: value[name] for name in dtypes}
    found = {}
    for name, dtype in dtypes.items():
        tensor = _quickly(columns[name], dtype)
        if tensor is None:
            shape, values = _dense(columns[name], dtype)
            tensor = Tensor(dtype, shape, _pack(dtype, values))
        found[name] = tensor
    return found


def _quickly(value: Any, dtype: str) -> Tensor | None:
    """A nested list as a tensor; None where something is wrong with it."""
    shape: tuple[int, ...] = ()
    flat = [value]
    while type(flat[0]) is list:
        size = len(flat[0])
        if any(type(each) is not list or len(each) != size for each in flat):
            return None
        shape += (size,)
        if not size or len(shape) > 64:
            return None
        flat = flat[0] if len(flat) == 1 else list(itertools.chain.from_iterable(flat))
    kinds = set(map(type, flat))
    try:
        if dtype in ("float", "double"):
            return Tensor(dtype, shape, pack(dtype, flat)) if kinds <= {float, int} else None
        if dtype == STRING:
            return Tensor(dtype, shape, [_bytes(each) for each in flat]) if kinds == {str} else None
        if dtype in _INT_BOUNDS:
            return (
                Tensor(dtype, shape, _pack(dtype, flat))
                if kinds == {int} and _in_bounds(dtype, flat)
                else None
            )
        if dtype == "bool":
            return Tensor(dtype, shape, bytes(flat)) if kinds == {bool} else None
    except OverflowError:
        return None
    return None


def _exactly(rows: list[Any], dtypes: Mapping[str, str], objects: bool) -> dict[str, Tensor]:
    """Row by row, in TF Serving's order, so that the first error is the one that it reports."""
    shapes: dict[str, tuple[int, ...]] = {}
    values: dict[str, list[Any]] = {name: [] for name in dtypes}
    for place, row in enumerate(rows):
        if objects:
            if not _is_object(row):
                raise invalid(f"Expecting object but got list at item {place} of input list")
            cells = row
        else:
            if _is_object(row):
                raise invalid(f"Expecting value/list but got object at item {place} of input list")
            cells = {next(iter(dtypes)): row}
        for name, cell in cells.items():
            try:
                _add_cell(name, cell, dtypes, shapes, values)
            except StatusError as error:
                key = f" key: {name}" if objects else ""
                raise invalid(
                    f"Failed to process element: {place}{key} of 'instances' list. Error: {error}"
                ) from error
        if objects and cells.keys() != dtypes.keys():
            raise invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: {debug(row)} "
                f"keys must be equal to: {','.join(dtypes)}"
            )
    return {
        name: Tensor(dtype, (len(rows), *shapes[name]), _pack(dtype, values[name]))
        for name, dtype in dtypes.items()
    }


def _add_cell(
    name: str,
    cell: Any,
    dtypes: Mapping[str, str],
    shapes: dict[str, tuple[int, ...]],
    values: dict[str, list[Any]],
) -> None:
    if name not in dtypes:
        raise invalid(f"JSON object: does not have named input: {name}")
    shape, flat = _dense(cell, dtypes[name])
    first = shapes.setdefault(name, shape)
    if shape != first:
        sizes = [_count(each) for each in (first, shape)]
        if sizes[0] != sizes[1]:
            raise invalid(f"Expecting tensor size: {sizes[0]} but got: {sizes[1]}")
        raise invalid(f"Expecting shape {_text(first)} but got: {_text(shape)}")
    values[name] += flat


def _dense(value: Any, dtype: str) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and elements of a nested list. The first elements give the shape; no recursion, as it may be deep."""
    shape: tuple[int, ...] = ()
    first = value
    while isinstance(first, list):
        shape += (len(first),)
        if not first:
            break
        first = first[0]
        if len(shape) > 254:
            raise invalid("tensors have at most 254 dimensions")
    flat: list[Any] = []
    stack: list[tuple[int, Any]] = [(0, value)]
    while stack:
        level, each = stack.pop()
        if not isinstance(each, list):
            if level != len(shape):
                raise invalid(
                    f"JSON Value: {debug(each)} found at incorrect level: {level + 1} in the JSON DOM. "
                    f"Expected at level: {len(shape)}"
                )
            flat.append(_element(each, dtype))
            continue
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(each) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(each)} at level: {level} expected size: {shape[level]}"
            )
        stack.extend((level + 1, inner) for inner in reversed(each))
    return shape, flat


def _element(value: Any, dtype: str) -> Any:
    if isinstance(value, dict):
        if dtype != STRING:
            raise _type_error(value, dtype)
        if not _is_base64(value):
            raise invalid(f"JSON Value: {debug(value)} not formatted correctly for base64 data")
        return _decode(value)
    if dtype in ("float", "double"):
        fits = isinstance(value, float | int) and not isinstance(value, bool)
    elif dtype == STRING:
        fits = isinstance(value, str)
    elif dtype == "bool":
        fits = isinstance(value, bool)
    elif dtype in _INT_BOUNDS:
        fits = type(value) is int and _in_bounds(dtype, [value])
    else:
        raise StatusError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {debug(value)} to type: {dtype}")
    if not fits:
        raise _type_error(value, dtype)
    return _bytes(value) if dtype == STRING else value


def _pack(dtype: str, values: list[Any]) -> Any:
    bits = _BITS.get(dtype)
    if bits is not None:
        mask, sign = (1 << bits) - 1, 0 if dtype.startswith("u") else 1 << (bits - 1)
        values = [((value & mask) ^ sign) - sign for value in values]
    return pack(dtype, values)


def _type_error(value: Any, dtype: str) -> StatusError:
    return invalid(f"JSON Value: {debug(value)} Type: {type_name(value)} is not of expected type: {dtype}")


def _in_bounds(dtype: str, values: list[int]) -> bool:
    low, high = _INT_BOUNDS[dtype]
    return not values or (low <= min(values) and max(values) <= high)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _decode(value: Mapping[str, str]) -> bytes:
    text = value["b64"]
    try:  # padding may be missing, as for absl::Base64Unescape
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _example(value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    example = Example()
    for name, content in value.items():
        feature = example.features.feature[name]
        for each in content if isinstance(content, list) else [content]:
            _add_value(name, each, feature)
    return example


def _add_value(name: str, value: Any, feature: Any) -> None:
    if value is None or isinstance(value, list) or _is_object(value):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    if isinstance(value, float):
        kind = "float"
    elif isinstance(value, int):
        kind = "int64"
    else:
        kind = "bytes"
    present = feature.WhichOneof("kind")
    if present is not None and present != f"{kind}_list":
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: {present.removesuffix('_list')}"
        )
    if kind == "bytes":
        value = _decode(value) if isinstance(value, dict) else _bytes(value)
    elif kind == "int64":
        value = int(value)
        if value >= 1 << 63:
            raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    getattr(feature, f"{kind}_list").value.append(value)

"""The REST API described in OpenAPI 3.1: a path for each model, with the columns that its signatures take."""

from collections.abc import Mapping
from typing import Any

import orjson

from noria.serving.models import Models
from noria.serving.signatures import DEFAULT, Signature
from noria.serving.tensors import STRING

_KINDS = {"float": "number", "double": "number", "half": "number", "bool": "boolean", STRING: "string"}


def description(models: Models) -> bytes:
    """The document, as JSON."""
    paths: dict[str, Any] = {}
    for name, model in models.models.items():
        latest = model.latest()
        base = f"/v1/models/{name}"
        paths[base] = {"get": _operation(f"The versions of {name} and their states")}
        paths[f"{base}/metadata"] = {"get": _operation(f"The signatures of {name}")}
        signature = latest.signatures.get(DEFAULT) if latest is not None else None
        paths[f"{base}:predict"] = {
            "post": _operation(f"What {name} predicts", _predict(signature) if signature is not None else {})
        }
        examples = {
            "type": "object",
            "required": ["examples"],
            "properties": {
                "signature_name": {"type": "string"},
                "context": {"type": "object"},
                "examples": {"type": "array", "minItems": 1, "items": {"type": "object"}},
            },
        }
        for verb in ("classify", "regress"):
            paths[f"{base}:{verb}"] = {"post": _operation(f"{name}'s answer to tf.Examples", examples)}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Noria: TensorFlow Serving's REST API", "version": "1"},
        "paths": paths,
    }
    return orjson.dumps(document)


def _operation(summary: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "the answer", "content": {"application/json": {}}},
            "default": {"description": "an error", "content": {"application/json": {"schema": error}}},
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _predict(signature: Signature) -> dict[str, Any]:
    columns = {name: _values(dtype) for name, dtype in signature.dtypes.items()}
    row: Any = {"type": "object", "properties": columns, "required": list(columns)}
    if len(columns) == 1:
        row = {"anyOf": [row, next(iter(columns.values()))]}
    return {
        "type": "object",
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {"type": "array", "minItems": 1, "items": row},
            "inputs": {},
        },
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    }


def _values(dtype: str) -> dict[str, Any]:
    value: Any = {"type": _KINDS.get(dtype, "integer")}
    if dtype == STRING:
        value = {"anyOf": [value, {"type": "object", "properties": {"b64": {"type": "string"}}}]}
    return {"anyOf": [value, {"type": "array"}]}

"""A client without TensorFlow: columns in, columns out, by REST or gRPC."""

import base64
import contextlib
import dataclasses
import gzip
import json
import math
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noria.components.missing_values import MISSING
from noria.core import files
from noria.core.errors import ConfigError, ServingError
from noria.serving.protos import (
    Example,
    SignatureDefMap,
    dtype_name,
    get_model_metadata_pb2,
    predict_pb2,
)
from noria.serving.tensors import STRING, from_proto, proto_of

__all__ = ["Credentials", "GrpcClient", "RestClient", "available", "connect", "examples"]

Columns = dict[str, list[Any]]


@dataclasses.dataclass(frozen=True)
class Credentials:
    """Whom the client trusts, and who it is.

    Args:
      ca: PEM file of the CA that has signed the server's certificate; the system's by default.
      token: an API key or a JSON Web Token.
      certificate, key: PEM files of the client's certificate.
    """

    ca: Path | None = None
    token: str = dataclasses.field(default="", repr=False)
    certificate: Path | None = None
    key: Path | None = None

    def for_http(self) -> ssl.SSLContext:
        """A context of TLS.

        Raises:
          ConfigError: a file cannot be read.
        """
        context = ssl.create_default_context(cadata=_read(self.ca).decode() if self.ca else None)
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except OSError as error:
                what = "the client's certificate cannot be used"
                raise files.refusal(error, what, self.certificate, ConfigError) from error
        return context

    def for_grpc(self) -> Any:
        """Credentials of a gRPC channel.

        Raises:
          ConfigError: a file cannot be read.
        """
        import grpc

        certificate = _read(self.certificate) if self.certificate is not None else None
        key = _read(self.key or self.certificate) if self.certificate is not None else None
        return grpc.ssl_channel_credentials(_read(self.ca) if self.ca else None, key, certificate)


def connect(
    url: str,
    model: str,
    version: int | None = None,
    timeout: float = 30.0,
    credentials: Credentials = Credentials(),
) -> "RestClient | GrpcClient":
    """A client for an address: `http://host:8501` or `https://` by REST, `grpc://host:8500` or `grpcs://` by gRPC.

    Args:
      model: the model's name.
      version: its version; the newest by default.
      timeout: seconds for each request.
      credentials: whom it trusts, and who it is.

    Raises:
      ServingError: the address has another form.
      ConfigError: a file of the credentials cannot be read.
    """
    if url.startswith(("http://", "https://")):
        return RestClient(url, model, version, timeout, credentials)
    for scheme, tls in (("grpc://", False), ("grpcs://", True)):
        if url.startswith(scheme):
            return GrpcClient(url.removeprefix(scheme), model, version, timeout, tls, credentials)
    raise ServingError(
        f"the address must begin with http://, https://, grpc:// or grpcs://, got {url}",
        next_step="for example http://localhost:8501",
    )


def examples(columns: Mapping[str, Sequence[Any]]) -> list[bytes]:
    """Rows as serialized tf.Examples: int, float, or str and bytes; a None is omitted.

    Args:
      columns: values of each column, all of one length.
    """
    rows = []
    for row in zip(*columns.values(), strict=True):
        example = Example()
        for name, value in zip(columns, row, strict=True):
            if value is None:
                continue
            feature = example.features.feature[name]
            if isinstance(value, bool | int):
                feature.int64_list.value.append(int(value))
            elif isinstance(value, float):
                feature.float_list.value.append(value)
            else:
                feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value)
        rows.append(example.SerializeToString())
    return rows


def available(
    url: str,
    model: str,
    timeout: float = 10.0,
    credentials: Credentials = Credentials(),
) -> set[int]:
    """The versions that a server answers for, by REST; none where it does not know the model.

    Raises:
      ServingError: the server does not answer.
    """
    try:
        found = RestClient(url, model, timeout=timeout, credentials=credentials).status()
    except ServingError as error:
        if "answered 404" in error.what:
            return set()
        raise
    return {number for number, state in found.items() if state == "AVAILABLE"}


class RestClient:
    """TF Serving's REST API of one model.

    Args:
      url: as `http://host:8501`.
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: int | None = None,
        timeout: float = 30.0,
        credentials: Credentials = Credentials(),
    ):
        chosen = "" if version is None else f"/versions/{version}"
        self.url = f"{url.rstrip('/')}/v1/models/{model}{chosen}"
        self.timeout = timeout
        self._context = credentials.for_http() if url.startswith("https://") else None
        self._headers = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}

    def signatures(self) -> dict[str, dict[str, str]]:
        """The type of each input, by signature."""
        found = self._signature_defs()
        return {
            name: {key: info["dtype"].removeprefix("DT_").lower() for key, info in each["inputs"].items()}
            for name, each in found.items()
        }

    def status(self) -> dict[int, str]:
        """The state of each version."""
        found = self._call("", None)["model_version_status"]
        return {int(each["version"]): each["state"] for each in found}

    def predict(self, columns: Mapping[str, Sequence[Any]], signature: str = "serving_default") -> Columns:
        """Outputs by name for columns by input; None is a missing value, as Noria's models understand it.

        Raises:
          ServingError: the server refuses, or does not answer.
        """
        if any(each is None for column in columns.values() for each in column):
            columns = _filled(columns, self.signatures().get(signature, {}))
        values = {name: [_jsonable(each) for each in column] for name, column in columns.items()}
        answer = self._call(":predict", {"signature_name": signature, "inputs": values})["outputs"]
        if not isinstance(answer, dict):  # the answer does not name the only output
            answer = {next(iter(self._signature_defs()[signature]["outputs"])): answer}
        return {name: [_from_json(each) for each in column] for name, column in sorted(answer.items())}

    def close(self) -> None:
        """For symmetry with gRPC: there is nothing to close."""

    def _signature_defs(self) -> dict[str, Any]:
        return self._call("/metadata", None)["metadata"]["signature_def"]["signature_def"]

    def _call(self, path: str, body: Any) -> Any:
        data = None if body is None else gzip.compress(json.dumps(body).encode(), 1)
        headers = self._headers | _trace()
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout, context=self._context) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            message = error.read().decode("utf-8", "replace")
            with contextlib.suppress(ValueError, TypeError, KeyError):
                message = json.loads(message)["error"]
            raise _refused(error.code, message, self.url + path) from error
        except OSError as error:
            raise _silent(self.url, error) from error


class GrpcClient:
    """TF Serving's gRPC API of one model.

    Args:
      target: as `host:8500` or `unix:/path`.
      tls: whether the connection is encrypted.
    """

    def __init__(
        self,
        target: str,
        model: str,
        version: int | None = None,
        timeout: float = 30.0,
        tls: bool = False,
        credentials: Credentials = Credentials(),
    ):
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self.target, self.model, self.version, self.timeout = target, model, version, timeout
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._error = grpc.RpcError
        if tls:
            self._channel = grpc.secure_channel(target, credentials.for_grpc(), options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._metadata = [("authorization", f"Bearer {credentials.token}")] if credentials.token else []
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def signatures(self) -> dict[str, dict[str, str]]:
        """The type of each input, by signature."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name(request.model_spec)
        found = SignatureDefMap()
        self._call(self._stub.GetModelMetadata, request).metadata["signature_def"].Unpack(found)
        return {
            name: {key: dtype_name(info.dtype) for key, info in each.inputs.items()}
            for name, each in found.signature_def.items()
        }

    def predict(self, columns: Mapping[str, Sequence[Any]], signature: str = "serving_default") -> Columns:
        """Outputs by name for columns by input; None is a missing value, as Noria's models understand it.

        Raises:
          ServingError: the server refuses, or does not answer.
        """
        types = self.signatures().get(signature, {})
        columns = _filled(columns, types)
        request = predict_pb2.PredictRequest()
        self._name(request.model_spec)
        request.model_spec.signature_name = signature
        for name, column in columns.items():
            values = [each.encode() if isinstance(each, str) else each for each in column]
            dtype = types.get(name) or (STRING if values and isinstance(values[0], bytes) else "float")
            request.inputs[name].CopyFrom(proto_of(dtype, [len(values)], values))
        outputs = self._call(self._stub.Predict, request).outputs
        found: Columns = {}
        for name in sorted(outputs):  # a map of protobuf has no order
            tensor = from_proto(outputs[name])
            width = math.prod(tensor.shape[1:])
            values = list(tensor.values())
            rows = [values[start : start + width] for start in range(0, len(values), width)] if width else []
            found[name] = values if len(tensor.shape) < 2 else rows
        return found

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _name(self, spec: Any) -> None:
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, self.timeout, [*self._metadata, *_trace().items()])
        except self._error as error:
            code = error.code().name
            if code == "UNAVAILABLE":
                raise _silent(self.target, error.details()) from error
            raise _refused(code, error.details(), self.target) from error


def _filled(columns: Mapping[str, Sequence[Any]], types: Mapping[str, str]) -> dict[str, list[Any]]:
    """Columns in which each None is the value that means "missing"."""
    found = {}
    for name, column in columns.items():
        missing = MISSING.get(types.get(name, ""))
        if missing is None and any(each is None for each in column):
            raise ServingError(
                f"column {name} has a missing value, and its type {types.get(name, 'is unknown')} has none",
                next_step="leave the row out, or fill the value",
            )
        found[name] = [missing if each is None else each for each in column]
    return found


def _trace() -> dict[str, str]:
    """The headers that name the caller's span, if the program has imported OpenTelemetry's `propagate`."""
    propagate, headers = sys.modules.get("opentelemetry.propagate"), dict[str, str]()
    if propagate is not None:
        propagate.inject(headers)
    return headers


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise files.refusal(error, "the certificates cannot be read", path, ConfigError) from error


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    return value


def _refused(code: int | str, message: str, where: str) -> ServingError:
    step = (
        "name a model that it serves by --model, or another --version" if code in (404, "NOT_FOUND") else None
    )
    return ServingError(f"the server answered {code}: {message}", where=where, next_step=step)


def _silent(where: str, error: object) -> ServingError:
    return ServingError(
        f"the server does not answer: {error}",
        where=where,
        next_step="start it with `noria serve`, or correct --url",
    )

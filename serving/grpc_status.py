"""Status codes of gRPC, and what they are in HTTP: each error of a request is a `StatusError`."""

import enum


class Code(enum.IntEnum):
    """The canonical codes (grpc.github.io, "Status codes")."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# As TF Serving's http_server.cc; a code that is not listed is 500.
HTTP = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}


class StatusError(Exception):
    """A request that cannot be answered, or a version that cannot be loaded.

    Args:
      code: the canonical code.
      message: what the client reads.
      http: the status in HTTP, where it is not the code's.
      retry_after: seconds after which the same request may be answered; 0 if nobody knows.
    """

    def __init__(self, code: Code, message: str, http: int | None = None, retry_after: float = 0.0):
        super().__init__(message)
        self.code = code
        self.message = message
        self.http = http or HTTP.get(code, 500)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def invalid(message: str) -> StatusError:
    """The error that most bad requests are."""
    return StatusError(Code.INVALID_ARGUMENT, message)

"""What a call that failed raises: one class for each kind of answer, with what the server said."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

_DETAILS = "grpc-status-details-bin"
# grpc.aio's own word, in place of the server's, where it had something to write to a call that had
# ended meanwhile.
_LOST_WORD = "Internal error from Core"


@dataclasses.dataclass(frozen=True, slots=True)
class FieldViolation:
    """A wrong field of a request: its path, as in `sampling.top_p`, and the rule that it breaks."""

    field: str
    rule: str


class PeerageError(Exception):
    """A call failed. `code` is gRPC's name of the kind (`INVALID_ARGUMENT`, ...), for kinds without
    a class of their own, too; `reason` is the server's, as in `DOES_NOT_FIT`, or empty."""

    code: str
    message: str
    reason: str
    request_id: str
    #: Seconds after which the server asks to try again. None: trying again is no use.
    retry_delay: float | None

    def __init__(self, message: str, *, code: str, reason: str = "", request_id: str = "",
                 retry_delay: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.request_id = request_id
        self.retry_delay = retry_delay

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class InvalidArgument(PeerageError, ValueError):
    """The request breaks rules of fields; `violations` names them."""

    violations: tuple[FieldViolation, ...] = ()

    def __str__(self) -> str:
        if len(self.violations) < 2:  # the message says the first one
            return super().__str__()
        return f"{self.code}: " + "; ".join(f"{v.field} {v.rule}" for v in self.violations)


class OutOfRange(PeerageError):
    """It does not fit: the context, the answer, or a trace."""


class NotFound(PeerageError):
    """There is no such model or layer."""


class ResourceExhausted(PeerageError):
    """A limit was passed, and trying again would pass it again."""


class Overloaded(ResourceExhausted):
    """The server has no room now: try again after `retry_delay` seconds."""


class Unavailable(PeerageError):
    """There is no server, or it loads or drains."""


class DeadlineExceeded(PeerageError, TimeoutError):
    """The timeout passed, or the request waited too long in the queue."""


class FailedPrecondition(PeerageError):
    """The server runs without what was asked for."""


class PermissionDenied(PeerageError):
    """The server does not do this for this client."""


class Unauthenticated(PeerageError):
    """The call's metadata does not say who asks."""


class Cancelled(PeerageError):
    """The call was cancelled, here or by the server."""


class Unimplemented(PeerageError):
    """The server is too old for this call, or is no Peerage server."""


class Internal(PeerageError):
    """The model or the server failed."""


class DataLoss(PeerageError):
    """An answer came in pieces that do not fit together."""


_CLASSES: dict[str, type[PeerageError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "OUT_OF_RANGE": OutOfRange,
    "NOT_FOUND": NotFound,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "FAILED_PRECONDITION": FailedPrecondition,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAUTHENTICATED": Unauthenticated,
    "CANCELLED": Cancelled,
    "UNIMPLEMENTED": Unimplemented,
    "INTERNAL": Internal,
    "DATA_LOSS": DataLoss,
}


class _Details:
    """The details that a google.rpc.Status carries, the first of each kind."""

    def __init__(self, details: Iterable[any_pb2.Any]) -> None:
        self.bad_request = error_details_pb2.BadRequest()
        self.info = error_details_pb2.ErrorInfo()
        self.retry: error_details_pb2.RetryInfo | None = None
        retry = error_details_pb2.RetryInfo()
        for detail in details:
            for message in (self.bad_request, self.info, retry):
                if detail.Is(message.DESCRIPTOR):
                    detail.Unpack(message)
            if detail.Is(retry.DESCRIPTOR):
                self.retry = retry


def from_status(status: status_pb2.Status, request_id: str = "") -> PeerageError:
    """The error that a google.rpc.Status describes."""
    details = _Details(status.details)
    code = code_pb2.Code.Name(status.code)
    delay = None
    if details.retry is not None:
        delay = details.retry.retry_delay.ToNanoseconds() / 1e9
    kind = _CLASSES.get(code, PeerageError)
    if kind is ResourceExhausted and delay is not None:
        kind = Overloaded
    error = kind(status.message, code=code, reason=details.info.reason, request_id=request_id,
                 retry_delay=delay)
    if isinstance(error, InvalidArgument):
        error.violations = tuple(FieldViolation(v.field, v.description)
                                 for v in details.bad_request.field_violations)
    return error


def _find(metadata: Any, name: str) -> Any:
    return next((value for key, value in metadata or () if key == name), None)


def from_rpc(failed: grpc.RpcError) -> PeerageError:
    """The error of a failed call, of grpc or grpc.aio. Without details of the server's, as when
    there is none, its code and message are gRPC's."""
    error: Any = failed  # a grpc.Call, too, which grpc's types do not say
    request_id = _find(error.initial_metadata(), "x-request-id") or ""
    status = status_pb2.Status()
    details = _find(error.trailing_metadata(), _DETAILS)
    if details is not None:
        status.ParseFromString(details)
    elif error.details() == _LOST_WORD:
        return Unavailable("the call ended while it was written to", code="UNAVAILABLE",
                           request_id=str(request_id), retry_delay=0.0)
    else:
        status.code = error.code().value[0]
        status.message = error.details() or ""
    return from_status(status, str(request_id))

"""OTLP over gRPC: the same bytes, and answers told as the HTTP statuses that mean the same.

OpenTelemetry's own gRPC exporter would tell success from failure only, after retries of its own; the worker has to know
a busy collector from a wrong key. So this is gRPC's channel, with the statuses of the OTLP specification.
Source: https://opentelemetry.io/docs/specs/otlp/#failures
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from callmeter.errors import APIConnectionError, ConfigError, Timeout
from callmeter.sinks.otlp.environ import Target
from callmeter.wire import WireReply, WireRequest

_STATUS = {
    "CANCELLED": 503,
    "ABORTED": 503,
    "OUT_OF_RANGE": 503,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 503,
    "RESOURCE_EXHAUSTED": 429,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 404,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "ALREADY_EXISTS": 409,
}
"""HTTP status by gRPC status; what is not here is the server's own trouble, 500."""


class GrpcSender:
    """Sends the bodies of requests to one method of one server."""

    def __init__(self, target: Target, method: str) -> None:
        self._where = urlsplit(target.url).netloc
        self._channel = _channel(target)
        # Bytes go in and out as they are: the sink has encoded them, and reads the answer itself.
        self._call = self._channel.unary_unary(method)

    def send(self, request: WireRequest) -> WireReply:
        """The answer, as HTTP would give it. Raises `Timeout` where none came."""
        metadata = [(name, value) for name, value in request.headers.items() if not name.startswith("content-")]
        try:
            body = self._call(request.body, metadata=metadata, timeout=request.timeouts.total_s)
        except grpc.RpcError as error:
            return self._told(error)
        return WireReply(status=200, headers={"content-type": "application/x-protobuf"}, body=body)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _told(self, error: Any) -> WireReply:
        code, details = error.code().name, str(error.details() or "")
        if code == "DEADLINE_EXCEEDED":
            raise Timeout(f"{self._where} did not answer in time ({details})")
        if code == "UNAVAILABLE" and _never_connected(details):
            raise APIConnectionError(f"{self._where}: {details}") from ConnectionRefusedError(details)
        after_s = _retry_delay_s(error)
        if code == "RESOURCE_EXHAUSTED" and after_s is None and "larger than max" in details:
            return WireReply(status=413, body=details.encode())
        headers = {} if after_s is None else {"retry-after": f"{after_s:g}"}
        return WireReply(status=_STATUS.get(code, 500), headers=headers, body=f"{code}: {details}".encode())


def _channel(target: Target) -> grpc.Channel:
    parts = urlsplit(target.url)
    port = parts.port or (443 if parts.scheme == "https" else 4317)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    options = [("grpc.max_receive_message_length", 1 << 20)]
    compression = grpc.Compression.Gzip if target.gzip else grpc.Compression.NoCompression
    if parts.scheme == "http":
        return grpc.insecure_channel(f"{host}:{port}", options=options, compression=compression)
    credentials = grpc.ssl_channel_credentials(
        _file(target.certificate), _file(target.client_key), _file(target.client_certificate)
    )
    return grpc.secure_channel(f"{host}:{port}", credentials, options=options, compression=compression)


def _file(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise ConfigError(f"the OTLP certificate {path!r} cannot be read: {error.strerror}; check the file") from None


def _never_connected(details: str) -> bool:
    return "failed to connect" in details.lower() or "dns resolution failed" in details.lower()


def _retry_delay_s(error: Any) -> float | None:
    """The wait that a `RetryInfo` among the error's details asks for."""
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    for name, value in error.trailing_metadata() or ():
        if name != "grpc-status-details-bin":
            continue
        for detail in Status.FromString(value).details:
            info = RetryInfo()
            if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None

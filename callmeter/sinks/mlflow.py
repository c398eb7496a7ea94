"""Calls as MLflow traces: over OTLP to a tracking server, through MLflow's own client into a local store.

MLflow prices a call by its own table unless it is told what it cost, so it is always told. Of a call whose price is not
known it is not told the model either: it would make up a cost, and shows the one thing that can be sent instead as 0.
Source: https://mlflow.org/docs/latest/genai/tracing/opentelemetry/ingest/
"""

import base64
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from callmeter.errors import APIConnectionError, ConfigError, MissingExtraError
from callmeter.events.model import AnyEvent, CallEnded
from callmeter.events.spans import Attributes, Span, spans_of
from callmeter.settings import Settings
from callmeter.sinks.base import Batch, Delivery, Misconfigured, Refused, Sink
from callmeter.sinks.otlp.costs import sides
from callmeter.sinks.otlp.environ import Target, require_packages
from callmeter.sinks.otlp.traces import Dialect, OtlpTraces
from callmeter.sinks.sending import where
from callmeter.types import Secret, Timeouts
from callmeter.wire import WireReply, WireRequest

if TYPE_CHECKING:
    from callmeter.sinks.otlp.encode import Encoder

DEFAULT_EXPERIMENT = "0"


def spoken(event: CallEnded, span: Span) -> Span:
    """The span with what MLflow reads. Its tags belong to the trace and are read from the root."""
    found: Attributes = {}
    if span.attempt is None:
        found |= _cost(event)
        if not span.parent_id:
            found |= {f"mlflow.traceTag.{name}": text for name, text in _tags(event.call.tags).items()}
    return replace(span, attributes={**span.attributes, **found})


def _cost(event: CallEnded) -> Attributes:
    if event.cost.total is None:
        return {"mlflow.llm.model": ""}
    given, made = sides(event.cost)
    usd = {"input_cost": float(given), "output_cost": float(made), "total_cost": float(event.cost.total)}
    return {"mlflow.llm.cost": msgspec.json.encode(usd).decode()}


def _tags(tags: Sequence[str]) -> dict[str, str]:
    """`key:value` as a tag of that key; what has no colon is a tag that is set."""
    return {key: value or "true" for key, _, value in (tag.partition(":") for tag in tags)}


class Mlflow(OtlpTraces):
    """Traces of an experiment of a tracking server, which takes or refuses a request as a whole.

    A call without a parent is its own trace. One below a span that is not sent to MLflow too stays in progress there.
    """

    name: ClassVar[str] = "mlflow"
    batch: ClassVar[Batch] = Batch(max_events=200)
    """A server on SQLite stores 100 to 300 traces a second, and has ten seconds for a request."""
    dialects: ClassVar[tuple[Dialect, ...]] = (spoken,)

    def __init__(
        self,
        url: str,
        *,
        experiment: str = "",
        experiment_id: str = "",
        authorization: Secret | None = None,
        capture_content: bool = False,
    ) -> None:
        """The experiment by its id, or by its name, and then it is made where it does not exist."""
        headers = {"authorization": authorization} if authorization else {}
        base = url.rstrip("/")
        super().__init__(
            Target(url=f"{base}/v1/traces", headers=headers, gzip=True),
            {"service.name": "callmeter"},
            capture_content=capture_content,
        )
        self.project = f"{experiment_id}\0{experiment}"
        self._base = base
        self._experiment = experiment
        self._experiment_id = experiment_id or ("" if experiment else DEFAULT_EXPERIMENT)

    def open(self) -> None:
        """Find the experiment, too. Raises `APIConnectionError` where the server does not tell it."""
        super().open()
        if not self._experiment_id:
            self._experiment_id = self._found() or self._made()

    def _request(self, body: bytes) -> WireRequest:
        request = super()._request(body)
        return replace(request, headers={**request.headers, "x-mlflow-experiment-id": self._experiment_id})

    def _found(self) -> str:
        reply = self._ask("GET", f"experiments/get-by-name?experiment_name={quote(self._experiment, safe='')}")
        return str(_member(reply, "experiment", "experiment_id"))

    def _made(self) -> str:
        reply = self._ask("POST", "experiments/create", msgspec.json.encode({"name": self._experiment}))
        experiment_id = str(_member(reply, "experiment_id"))
        # Somebody else may have made it in between.
        experiment_id = experiment_id or self._found()
        if not experiment_id:
            raise APIConnectionError(
                f"{self.endpoint} answered {reply.status} when asked for the experiment {self._experiment!r}"
            )
        return experiment_id

    def _ask(self, method: str, path: str, body: bytes = b"") -> WireReply:
        from callmeter.transport import sync_transport

        headers = {name: secret.reveal() for name, secret in self.target.headers.items()}
        headers["content-type"] = "application/json"
        limits = Timeouts(connect_s=self.timeout_s, first_byte_s=self.timeout_s, total_s=self.timeout_s)
        transport = sync_transport()
        try:
            return transport.send(
                WireRequest(
                    url=f"{self._base}/api/2.0/mlflow/{path}",
                    method=method,
                    headers=headers,
                    body=body,
                    timeouts=limits,
                )
            )
        finally:
            transport.close()


def _member(reply: WireReply, *path: str) -> Any:
    """A member of a JSON answer; empty where it is not there."""
    try:
        found = msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        return ""
    for name in path:
        found = found.get(name, "") if isinstance(found, dict) else ""
    return found


class LocalMlflow(Sink):
    """Traces in a tracking store that this machine opens itself: SQLite, PostgreSQL, … by MLflow's client.

    An export returns once they are stored; the same span again changes nothing. MLflow is imported by the worker.
    """

    name: ClassVar[str] = "mlflow"
    dedupe_key: ClassVar[str] = "span id"
    batch: ClassVar[Batch] = Batch(max_events=200)

    def __init__(self, uri: str = "", *, experiment: str = "", capture_content: bool = False) -> None:
        """An empty URI is MLflow's own default, a database in the working directory."""
        self.capture_content = capture_content
        self.endpoint = uri.partition("://")[0] or "mlflow.db"
        # The URI may hold a password, and means a file of the working directory where it is relative.
        self.key = Secret(uri)
        self.project = f"{os.getcwd()}\0{experiment}"
        self._uri = Secret(uri)
        self._experiment = experiment
        self._experiment_id = ""
        self._client: Any = None
        self._encoder: Encoder | None = None

    def open(self) -> None:
        """Import MLflow, open its store, find or make the experiment. Raises `ConfigError` where MLflow refuses."""
        from mlflow.exceptions import MlflowException
        from mlflow.tracing.client import TracingClient

        from callmeter.sinks.otlp.encode import Encoder

        self._encoder = Encoder({"service.name": "callmeter"})
        try:
            self._client = TracingClient(self._uri.reveal() or None)
            self._experiment_id = self._found()
        except MlflowException as error:
            raise ConfigError(f"MLflow does not open its store: {error}") from error

    def export(self, events: Sequence[AnyEvent]) -> Delivery:
        """Store a trace for each. Raises `Refused` where MLflow does not take one, `Misconfigured` for a file store."""
        from mlflow.exceptions import MlflowException

        ended = [shown for event in events if isinstance(shown := self.shown(event), CallEnded)]
        try:
            self._client.log_spans(self._experiment_id, self._spans(ended))
        except NotImplementedError:
            raise Misconfigured(
                "MLflow's file store takes no traces from outside; set MLFLOW_TRACKING_URI to sqlite:///mlflow.db"
            ) from None
        except MlflowException as error:
            if error.get_http_status_code() < 500:
                raise Refused(f"MLflow: {error}") from error
            raise
        return Delivery(accepted=[event.id for event in ended])

    def _spans(self, events: Sequence[CallEnded]) -> list[Any]:
        """MLflow's spans, made as its server makes them of the same bytes."""
        from mlflow.entities.span import Span as MlflowSpan
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        assert self._encoder is not None
        spans = [spoken(event, span) for event in events for span in spans_of(event)]
        (resource,) = ExportTraceServiceRequest.FromString(self._encoder.spans(spans)).resource_spans
        return [
            MlflowSpan.from_otel_proto(span, resource=resource.resource)
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def _found(self) -> str:
        if not self._experiment:
            return DEFAULT_EXPERIMENT
        store = self._client.store
        found = store.get_experiment_by_name(self._experiment)
        return str(found.experiment_id if found is not None else store.create_experiment(self._experiment))


def make(settings: Settings, environ: Mapping[str, str]) -> Sink:
    """The sink `mlflow`, by MLflow's variables; a URI that the program set itself holds where none is in them.

    Raises `ConfigError` for Databricks, `MissingExtraError` where a local store would need the package.
    """
    require_packages("mlflow", environ)
    uri = environ.get("MLFLOW_TRACKING_URI", "").strip() or _set_by_the_program()
    experiment = environ.get("MLFLOW_EXPERIMENT_NAME", "").strip()
    if uri.startswith(("http://", "https://")):
        return Mlflow(
            uri,
            experiment=experiment,
            experiment_id=environ.get("MLFLOW_EXPERIMENT_ID", "").strip(),
            authorization=_authorization(environ),
            capture_content=settings.capture_content,
        )
    if uri.startswith(("databricks", "uc:")):
        raise ConfigError(
            f"MLFLOW_TRACKING_URI is {where(uri) or uri!r}; the sink 'mlflow' sends to MLflow servers only"
        )
    _require_mlflow()
    return LocalMlflow(uri, experiment=experiment, capture_content=settings.capture_content)


def _set_by_the_program() -> str:
    """What `mlflow.set_tracking_uri` was given, if MLflow is loaded."""
    mlflow = sys.modules.get("mlflow")
    get: Any = getattr(mlflow, "get_tracking_uri", None)
    return str(get()) if callable(get) else ""


def _authorization(environ: Mapping[str, str]) -> Secret | None:
    token, user = environ.get("MLFLOW_TRACKING_TOKEN", ""), environ.get("MLFLOW_TRACKING_USERNAME", "")
    if token:
        return Secret(f"Bearer {token}")
    if user:
        pair = f"{user}:{environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return Secret(f"Basic {base64.b64encode(pair.encode()).decode()}")
    return None


def _require_mlflow() -> None:
    from importlib.util import find_spec

    if find_spec("mlflow") is None:
        raise MissingExtraError(
            "the sink 'mlflow' without a server in MLFLOW_TRACKING_URI needs a package: pip install 'callmeter[mlflow]'"
        )

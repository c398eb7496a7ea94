"""A call in Langfuse has its tokens, its cost and its place, by the rules of Langfuse's own endpoint."""

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from callmeter.clock import SystemClock
from callmeter.errors import ConfigError
from callmeter.events.model import CallEnded
from callmeter.events.trace import span_id_of, trace_id_of
from callmeter.settings import Settings
from callmeter.sinks.langfuse import Langfuse
from callmeter.sinks.registry import make
from callmeter.sinks.sending import deliver
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import SENDER
from callmeter.types import Usage
from tests.ended_calls import AT_NS, CALL_ID, CONTENT, COST, UNPRICED, answered, facts, failed, items, retried
from tests.sinks.langfuse_server import answer, observations
from tests.sinks.otlp.wire import span_ids


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(span_ids, healthy=answer) as one:
        yield one


@pytest.fixture
def sink(server: FaultServer) -> Langfuse:
    return Langfuse("pk-lf-1", "sk-lf-1", host=server.base_url, capture_content=True)


def shown(server: FaultServer, sink: Langfuse, *events: CallEnded) -> list[dict[str, Any]]:
    """What Langfuse shows of these calls."""
    for _, said in deliver(sink, events, SENDER, SystemClock(), lambda: 60):
        assert list(said.accepted) == [event.id for event in events]  # type: ignore[union-attr]
    return observations(server.received[-1].body)


def test_it_is_posted_to_the_otlp_endpoint_with_basic_auth(server: FaultServer, sink: Langfuse) -> None:
    shown(server, sink, answered())
    (request,) = server.received
    assert request.path == "/api/public/otel/v1/traces"
    scheme, pair = request.headers["authorization"].split()
    assert (scheme, base64.b64decode(pair)) == ("Basic", b"pk-lf-1:sk-lf-1")
    assert request.headers["x-langfuse-ingestion-version"] == "4"
    assert "x-langfuse-sdk-name" not in request.headers


def test_a_call_is_a_generation_with_everything_in_its_columns(server: FaultServer, sink: Langfuse) -> None:
    (row,) = shown(server, sink, answered())
    assert (row["id"], row["trace_id"], row["parent_id"]) == (span_id_of(CALL_ID), CALL_ID, "")
    assert (row["type"], row["name"]) == ("generation", "chat claude-sonnet-4-5")
    assert (row["start_ns"], row["end_ns"]) == (AT_NS, AT_NS + 2_000_000_000)
    assert row["first_token_at"] == "2025-06-15T15:06:40.500000Z"
    assert row["model"] == "claude-sonnet-4-5-20250929"
    assert row["parameters"] == {"temperature": 0.5, "max_tokens": 200}
    assert (row["user"], row["session"], row["tags"]) == ("ada", "s-1", ["env:test", "beta"])
    assert (row["environment"], row["level"], row["metadata"]) == ("test", "DEFAULT", {"run": "7"})
    assert json.loads(row["input"]) == CONTENT.messages
    assert json.loads(row["output"]) == CONTENT.completion["choices"][0]["message"]


def test_tokens_are_in_disjoint_buckets_whose_sum_is_the_calls(server: FaultServer, sink: Langfuse) -> None:
    (row,) = shown(server, sink, answered())
    assert row["usage"] == {
        "input": 300,
        "input_cached_tokens": 600,
        "input_cache_creation": 100,
        "output": 80,
        "output_reasoning_tokens": 20,
    }
    assert row["total_tokens"] == answered().usage.total_tokens  # type: ignore[union-attr]


def test_the_cost_is_callmeters_in_all_and_by_bucket(server: FaultServer, sink: Langfuse) -> None:
    (row,) = shown(server, sink, answered())
    assert Decimal(str(row["total_cost"])) == COST.total
    assert row["priced_by"] == "us"
    parts = {name: Decimal(str(usd)) for name, usd in row["cost"].items() if name != "total"}
    assert parts.keys() == row["usage"].keys()
    assert sum(parts.values()) == COST.total


def test_a_cost_that_is_not_known_is_shown_as_none_and_not_made_up(server: FaultServer, sink: Langfuse) -> None:
    (row,) = shown(server, sink, answered(cost=UNPRICED))
    assert (row["total_cost"], row["priced_by"], row["total_tokens"]) == (None, "us", 1100)


def test_what_is_charged_beside_tokens_is_in_the_total(server: FaultServer, sink: Langfuse) -> None:
    lines = items(input=(1, "0.1"), **{"search.web": (2, "0.01")})
    cost = COST.__class__(total=Decimal("0.12"), status="priced", items=lines)
    (row,) = shown(server, sink, answered(usage=Usage(input_tokens=1, units={"search.web": 2}), cost=cost))
    assert (row["total_cost"], row["cost"]["search.web"], row["usage"]) == (0.12, 0.02, {"input": 1})


def test_a_failure_has_its_level_and_message(server: FaultServer, sink: Langfuse) -> None:
    (row,) = shown(server, sink, failed())
    assert (row["level"], row["status_message"], row["usage"]) == ("ERROR", "slow down", {})


def test_attempts_are_spans_below_the_generation_with_the_traces_labels(server: FaultServer, sink: Langfuse) -> None:
    whole, first, second = shown(server, sink, retried())
    assert (first["type"], first["level"], second["level"]) == ("span", "ERROR", "DEFAULT")
    assert first["parent_id"] == second["parent_id"] == whole["id"]
    for row in (first, second):
        assert (row["usage"], row["cost"]) == ({}, {})
        assert (row["user"], row["session"], row["tags"]) == ("ada", "s-1", ["env:test", "beta"])


# --- metadata as existing code writes it


def test_metadata_names_and_places_the_generation(server: FaultServer, sink: Langfuse) -> None:
    metadata = {
        "generation_name": "answer",
        "generation_id": "a1" * 8,
        "parent_observation_id": "b2" * 8,
        "trace_name": "question",
        "trace_user_id": "grace",
        "trace_metadata": '{"tier":"gold","size":3}',
        "trace_release": "v9",
        "version": "2",
        "prompt": '{"name":"greeting","version":"4"}',
        "run": "7",
    }
    (row,) = shown(server, sink, answered(facts(metadata=metadata)))
    assert (row["name"], row["id"], row["parent_id"]) == ("answer", "a1" * 8, "b2" * 8)
    assert (row["trace_name"], row["user"], row["release"], row["version"]) == ("question", "grace", "v9", "2")
    assert row["trace_metadata"] == {"tier": "gold", "size": "3"}
    assert row["prompt"] == ("greeting", 4)
    assert row["metadata"] == {"run": "7"}


def test_an_existing_trace_is_joined_and_only_the_listed_keys_are_said_of_it(
    server: FaultServer, sink: Langfuse
) -> None:
    metadata = {
        "existing_trace_id": "my-trace",
        "trace_name": "new name",
        "trace_release": "v9",
        "update_trace_keys": '["name"]',
    }
    (row,) = shown(server, sink, answered(facts(metadata=metadata)))
    assert row["trace_id"] == trace_id_of("my-trace")
    assert (row["trace_name"], row["release"], row["tags"]) == ("new name", None, None)


@pytest.mark.parametrize(
    ("key", "masked", "seen"), [("mask_input", "input", "output"), ("mask_output", "output", "input")]
)
def test_what_is_to_be_masked_does_not_leave(
    server: FaultServer, sink: Langfuse, key: str, masked: str, seen: str
) -> None:
    (row,) = shown(server, sink, answered(facts(metadata={key: "True"})))
    assert row[masked] == "redacted"
    assert row[seen] is not None
    secret = {"input": b"Weather in Paris?", "output": b"Let me look."}[masked]
    assert secret not in server.received[0].body


@pytest.mark.parametrize(
    "metadata",
    [
        {"prompt": "not json", "trace_metadata": "[1]", "update_trace_keys": "{", "existing_trace_id": ""},
        {"prompt": '{"name":"x","version":"latest"}', "generation_id": "too short", "parent_observation_id": "0" * 16},
    ],
)
def test_metadata_of_another_form_is_no_obstacle(server: FaultServer, sink: Langfuse, metadata: dict[str, str]) -> None:
    (row,) = shown(server, sink, answered(facts(metadata=metadata)))
    assert (row["id"], row["parent_id"]) == (span_id_of(CALL_ID), "")


# --- configuration


def test_it_is_made_from_the_variables_of_its_sdk() -> None:
    environ = {
        "LANGFUSE_PUBLIC_KEY": "pk",
        "LANGFUSE_SECRET_KEY": "sk",
        "LANGFUSE_HOST": "https://eu.example.com/",
        "LANGFUSE_TRACING_ENVIRONMENT": "staging",
        "LANGFUSE_RELEASE": "v1",
    }
    sink = make("langfuse", Settings(), environ)
    assert isinstance(sink, Langfuse)
    assert sink.target.url == "https://eu.example.com/api/public/otel/v1/traces"
    assert sink.resource["langfuse.environment"] == "staging"
    base = {**environ, "LANGFUSE_BASE_URL": "https://us.example.com"}
    assert make("langfuse", Settings(), base).endpoint == "https://us.example.com"
    cloud = {name: environ[name] for name in ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")}
    assert make("langfuse", Settings(), cloud).endpoint == "https://cloud.langfuse.com"


@pytest.mark.parametrize("missing", ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"])
def test_a_missing_key_is_named(missing: str) -> None:
    environ = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}
    with pytest.raises(ConfigError, match=f"'langfuse' needs {missing}"):
        make("langfuse", Settings(), {**environ, missing: ""})


def test_projects_and_environments_have_outboxes_of_their_own() -> None:
    def identity(secret: str = "sk", environment: str = "") -> str:
        return Langfuse("pk", secret, environment=environment).identity()

    assert identity() == identity()
    assert len({identity(), identity("other"), identity(environment="staging")}) == 3

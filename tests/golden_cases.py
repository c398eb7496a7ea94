"""Golden wire cases: bytes as a provider sends them, with what they must decode to.

A case is a folder `tests/golden/<codec>/<case>/`:

    call.json         what was asked: `model`, `provider`, `messages`, and optionally `operation`, `params`, `extra`,
                      `stream`, `api_base`, `api_key`, `quirks`, `variables`, `headers` (a call's), `deployment_headers`
                      and `reply_headers`
    request.json      the body the codec must send (compared as JSON)
    response.json     the answer's bytes, for a plain call; or
    stream.txt        the body's bytes, for a streamed one; or
    stream.events     an AWS event stream as text (see `event_stream`), for these are no text
    chunks.json       the chunks a stream must decode to, as `model_dump(exclude_none=True)`
    completion.json   the whole answer, plain or folded from the chunks, as `model_dump()`
    usage.json        the meter without its raw part: `usage`, `problem`, `service_tier`, `reported`
    error.json        `{"class", "status_code", "code", "message"}` where the answer or the stream ends in an error

`python -m tests.golden_cases CODEC CASE...` writes the expected files of a new case from what the code does now; read
them against the provider's page before they are kept.
"""

import importlib
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from callmeter.client.codecs.base import Codec, Frame, Later, Meter, OperationCodec
from callmeter.client.fold import Fold
from callmeter.client.streaming import FRAMINGS
from callmeter.client.uploads import Upload
from callmeter.errors import APIError
from callmeter.shapes import Chunk, Completion, Result
from callmeter.testing.eventstream import event, exception, message
from callmeter.testing.forms import as_json
from callmeter.types import Call, Deployment, Secret
from callmeter.wire import WireReply

GOLDEN = Path(__file__).parent / "golden"

CALL_ID = "187b2f0a3c4d5e6f0123456789abcdef"
"""The id of every golden call; its first half is 2025-11-25T07:23:20Z in nanoseconds."""


class Case(NamedTuple):
    """One folder: what to ask, what came, and what it must become. A part the folder lacks is None."""

    name: str
    path: Path
    call: Call
    deployment: Deployment
    request: Any
    body: bytes
    chunks: list[dict[str, Any]] | None
    completion: dict[str, Any] | None
    usage: dict[str, Any] | None
    error: dict[str, Any] | None
    reply_headers: dict[str, str]

    def __repr__(self) -> str:
        return self.name


class Decoded(NamedTuple):
    """What became of an answer's bytes. `error` is what was raised, after the chunks that came before it."""

    chunks: list[Chunk]
    completion: Result
    meter: Meter
    error: APIError | None

    @property
    def text(self) -> str:
        """All content of the first choice."""
        said = self.completion
        return (said.choices[0].message.content or "") if isinstance(said, Completion) and said.choices else ""


def codec_named(name: str) -> Codec:
    """The codec of the module `callmeter.client.codecs.<name>`."""
    codec: Codec = importlib.import_module(f"callmeter.client.codecs.{name}").CODEC
    return codec


def load_cases(codec_name: str, *, stream: bool | None = None) -> list[Case]:
    """The codec's cases by name; only streams or only plain answers if asked."""
    cases = [load(path) for path in sorted((GOLDEN / codec_name).iterdir()) if (path / "call.json").exists()]
    return [case for case in cases if stream is None or case.call.stream is stream]


def load(path: Path) -> Case:
    """The case in a folder."""
    asked = json.loads((path / "call.json").read_bytes())
    streamed = any((path / f"stream.{kind}").exists() for kind in ("txt", "events"))
    call = Call(
        id=CALL_ID,
        operation=asked.get("operation", "chat"),
        model=f"{asked['provider']}/{asked['model']}",
        messages=asked.get("messages", []),
        params=_with_file(asked.get("params", {})),
        extra=asked.get("extra", {}),
        stream=asked.get("stream", streamed),
        headers=asked.get("headers", {}),
    )
    deployment = Deployment(
        provider=asked["provider"],
        model=asked["model"],
        codec=path.parent.name,
        api_base=asked.get("api_base", "https://provider.test/v1"),
        api_key=Secret(asked["api_key"]) if "api_key" in asked else None,
        headers=asked.get("deployment_headers", {}),
        quirks=asked.get("quirks", {}),
        variables=asked.get("variables", {}),
    )
    body = next((file for name in BODIES if (file := path / name).exists()), None)
    content = b"" if body is None else body.read_bytes()
    if body is not None and body.suffix == ".events":
        content = event_stream(content.decode())
    expected = {name: _json(path / f"{name}.json") for name in ("request", "chunks", "completion", "usage", "error")}
    return Case(
        path.name,
        path,
        call,
        deployment,
        body=content,
        reply_headers=asked.get("reply_headers", {}),
        **expected,
    )


BODIES = ("stream.txt", "stream.events", "response.json")


def event_stream(text: str) -> bytes:
    """The bytes of an AWS event stream out of one line a message: the event's name and its payload.

    A payload that is a JSON string stands for the bytes in it. A name after `!` is an exception's; after `!!` it is an
    error's, and what follows is its message.
    """
    return b"".join(_event(*line.split(" ", 1)) for line in text.splitlines())


def _event(name: str, payload: str) -> bytes:
    if name.startswith("!!"):
        return message({":message-type": "error", ":error-code": name[2:], ":error-message": payload})
    data = json.loads(payload).encode() if payload.startswith('"') else payload.encode()
    return exception(name[1:], data) if name.startswith("!") else event(name, data)


def split(body: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    """The body in pieces, cut at these offsets (those beyond its end are ignored)."""
    at = sorted({0, len(body), *(cut for cut in cuts if 0 < cut < len(body))})
    return (body[start:end] for start, end in itertools.pairwise(at))


def frames(codec: Codec, body: bytes, cuts: Iterable[int] = ()) -> Iterator[Frame]:
    """The body's frames, as the network's cuts let them arrive."""
    framing = FRAMINGS[codec.framing]()
    for piece in split(body, cuts):
        yield from framing.feed(piece)
    yield from framing.close()


def decode_stream(codec: Codec, call: Call, deployment: Deployment, body: bytes, cuts: Iterable[int] = ()) -> Decoded:
    """A stream's body, arriving in pieces, as the flow would decode it. Any `APIError` is caught and kept."""
    decoder, fold, chunks, error = codec.decoder(call, deployment), Fold(), list[Chunk](), None

    def take(more: Sequence[Chunk]) -> None:
        for chunk in more:
            chunks.append(chunk)
            fold.add(chunk)

    try:
        for frame in frames(codec, body, cuts):
            take(decoder.chunks(frame))
        take(decoder.finish())
    except APIError as raised:
        error = raised
    return Decoded(chunks, fold.completion(), decoder.meter, error)


def decode(case: Case, codec: OperationCodec, cuts: Iterable[int] = ()) -> Decoded:
    """The case's bytes decoded, streamed or plain."""
    if case.call.stream:
        return decode_stream(codec, case.call, case.deployment, case.body, cuts)
    try:
        reply = WireReply(status=200, headers=case.reply_headers, body=case.body)
        found = codec.response(reply, case.call, case.deployment)
    except APIError as raised:
        return Decoded([], Completion(), Meter(), raised)
    assert not isinstance(found, Later)
    answer, meter = found
    return Decoded([], answer, meter, None)


def shown(decoded: Decoded) -> dict[str, Any]:
    """What was decoded in the form of the expected files, `{file stem: value}`; None where there is no such file."""
    meter, error = decoded.meter, decoded.error
    return {
        "chunks": [chunk.model_dump(exclude_none=True) for chunk in decoded.chunks] or None,
        "completion": msgspec.to_builtins(decoded.completion.model_dump()) if decoded.chunks or error is None else None,
        "usage": msgspec.to_builtins(
            {name: getattr(meter, name) for name in ("usage", "problem", "service_tier", "reported")}
        ),
        "error": error and {"class": type(error).__name__, **_fields(error, "status_code", "code", "message")},
    }


def check(case: Case, codec: OperationCodec, cuts: Iterable[int] = ()) -> None:
    """The case decodes to exactly what its files say."""
    got = shown(decode(case, codec, cuts))
    for stem in ("error", "chunks", "completion", "usage"):
        assert got[stem] == getattr(case, stem), f"{case.name}/{stem}.json"


def sent_body(case: Case, codec: OperationCodec) -> Any:
    """The body the codec sends for the case's call; a form as an object."""
    request = codec.request(case.call, case.deployment)
    kind = request.headers["content-type"]
    return json.loads(as_json(kind, request.body) if kind.startswith("multipart/") else request.body)


def _with_file(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters; of a file there are its name and, as text, its content."""
    if "file" not in params:
        return params
    return {**params, "file": Upload(params["file"]["name"], params["file"]["content"].encode())}


def _fields(value: object, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes()) if path.exists() else None


def _write(path: Path) -> None:
    """Writes the case's expected files from what the code does now."""
    case, codec = load(path), codec_named(path.parent.name)
    expected = {"request": sent_body(case, codec)} | (shown(decode(case, codec)) if case.body else {})
    for stem, value in expected.items():
        file = path / f"{stem}.json"
        file.unlink(missing_ok=True)
        if value is not None:
            file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    codec_name, *names = sys.argv[1:]
    for name in names or sorted(path.name for path in (GOLDEN / codec_name).iterdir()):
        _write(GOLDEN / codec_name / name)

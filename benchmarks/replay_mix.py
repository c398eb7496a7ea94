"""What a replay asks for: the trace's real requests, and what becomes of each, drawn from a seed by its number. Pure.

The client makes its calls from this and the checker knows from it what was asked; what was served is the provider's to
say.

The trace: Azure LLM inference trace 2023, Azure Public Dataset, CC BY 4.0; Patel et al., "Splitwise: Efficient
generative LLM inference using phase splitting", ISCA 2024. https://github.com/Azure/AzurePublicDataset
"""

import csv
import random
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

TRACES = ("azure_llm_2023_conv.csv", "azure_llm_2023_code.csv")
"""Columns: TIMESTAMP (arrival), ContextTokens, GeneratedTokens."""

UNPRICED = "openai/house-model-7b"
MODELS = {
    "openai/gpt-4o-mini": 30,
    "openai/gpt-4o": 20,
    "anthropic/claude-sonnet-4-5": 20,
    "anthropic/claude-haiku-4-5": 14,
    "ollama/llama3.2": 10,
    UNPRICED: 6,
}
"""Models and how many of a hundred calls go to each."""

Kind = Literal["plain", "silent", "retried", "failed", "rejected", "fallback", "cut", "cancelled"]
KINDS: dict[Kind, int] = {
    "plain": 70,
    "silent": 4,
    "retried": 5,
    "failed": 3,
    "rejected": 3,
    "fallback": 5,
    "cut": 5,
    "cancelled": 5,
}
"""What happens to a call, and to how many of a hundred: answered; answered without usage; refused once with 429; every
attempt ends in 500; 400; 503 and then another model; hung up on amid the stream; left by its reader amid the stream."""

RETRIES = 1
"""Retries after a first attempt, so that a failing call makes two."""

_PROSE = "The quick brown fox jumps over the lazy dog, naïvely, while 狐 and 犬 look on; déjà vu – again and again. "
_WORDS = "ein naïve façade 日本語 résumé plain ASCII text with numbers 12345 and punctuation, too; Ω ≈ 3".split()


class Arrival(Struct, frozen=True):
    """One request of the trace."""

    at_s: float
    """Seconds after the first."""
    context_tokens: int
    generated_tokens: int


class Asked(Struct, frozen=True, kw_only=True):
    """One call of the replay: what to ask and what the provider is to do about it."""

    number: int
    model: str
    kind: Kind
    stream: bool
    prompt: str
    wish: dict[str, Any]
    """The provider's `x_fake` for an answer that succeeds."""
    text: str = ""
    """What the model writes; empty where it writes the provider's own words."""
    chunks: int = 0
    """Pieces the text is streamed in."""
    after: int = 0
    """Pieces the reader gets before the stream is cut or left."""
    fallback: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """The `x_fake` of the first model's requests."""
        if self.kind in ("failed", "fallback", "rejected"):
            return {"fail": {"failed": 500, "fallback": 503, "rejected": 400}[self.kind], "retry_after_s": 0}
        if self.kind == "cut":
            return {**self.wish, "cut_after_chunks": self.after}
        if self.kind == "cancelled":
            return {**self.wish, "stall_after_chunks": self.after}
        return self.wish


def arrivals(folder: Path, names: tuple[str, ...] = TRACES) -> list[Arrival]:
    """All requests of the traces in order of arrival. Raises `FileNotFoundError` saying what to do."""
    rows: list[tuple[datetime, int, int]] = []
    for name in names:
        path = folder / name
        if not path.exists():
            raise FileNotFoundError(
                f"there is no {path}; fetch the Azure LLM inference trace 2023 from "
                "https://github.com/Azure/AzurePublicDataset and name its folder with --traces, or use --made-up N"
            )
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                # Seven digits of a second are one more than datetime reads.
                at = datetime.fromisoformat(row["TIMESTAMP"][:26] + "+00:00")
                rows.append((at, int(row["ContextTokens"]), int(row["GeneratedTokens"])))
    rows.sort()
    first = rows[0][0]
    return [Arrival((at - first).total_seconds(), context, generated) for at, context, generated in rows]


def made_up(count: int, seed: int = 1) -> list[Arrival]:
    """Requests of the traces' shape (log-normal sizes, eight a second), where the traces are not at hand."""
    chance = random.Random(seed)
    at_s, made = 0.0, []
    for _ in range(count):
        at_s += chance.expovariate(8)
        context, generated = int(chance.lognormvariate(6.6, 1.0)) + 3, int(chance.lognormvariate(4.4, 1.1)) + 6
        made.append(Arrival(at_s, min(context, 14_050), min(generated, 1_899)))
    return made


def asked(number: int, arrival: Arrival, seed: int) -> Asked:
    """What call `number` asks for; the same for everybody who asks."""
    chance = random.Random(f"{seed}:{number}")
    model = chance.choices(tuple(MODELS), tuple(MODELS.values()))[0]
    kind = chance.choices(tuple(KINDS), tuple(KINDS.values()))[0]
    stream = kind in ("cut", "cancelled") or chance.random() < 0.5
    fallback = chance.choice([other for other in MODELS if other != model]) if kind == "fallback" else ""
    wish: dict[str, Any] = {"prompt_tokens": arrival.context_tokens, "completion_tokens": arrival.generated_tokens}
    wish |= _cached(chance, fallback or model, arrival.context_tokens)
    text, chunks, after = "", 0, 0
    if kind in ("silent", "cut", "cancelled"):
        # Words of our own where what was delivered has to be counted.
        words = chance.choices(_WORDS, k=chance.randint(12, 60))
        text, chunks = " ".join(words), chance.randint(4, 12)
        after = chance.randint(1, chunks - 1)
        wish |= {"text": text, "chunks": chunks, "usage": kind != "silent"}
    return Asked(
        number=number,
        model=model,
        kind=kind,
        stream=stream,
        prompt=_prompt(number, arrival.context_tokens),
        wish=wish,
        text=text,
        chunks=chunks,
        after=after,
        fallback=fallback,
    )


def _cached(chance: random.Random, model: str, context: int) -> dict[str, int]:
    """Cache reads and writes as that provider reports them, in four calls of ten."""
    if chance.random() > 0.4 or model.startswith("ollama/"):
        return {}
    found = {"cached_tokens": int(context * chance.random() * 0.8)}
    if model.startswith("anthropic/"):
        left = context - found["cached_tokens"]
        found["cache_write_tokens"] = int(left * chance.random() * 0.5)
        found["cache_write_1h_tokens"] = int(left * chance.random() * 0.3)
    return found


def _prompt(number: int, tokens: int) -> str:
    """About four characters a token, beginning with the call's number."""
    head, size = f"{number}: ", 4 * tokens
    return (head + _PROSE * (size // len(_PROSE) + 1))[:size] if size > len(head) else head

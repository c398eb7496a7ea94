"""Thousands of calls priced by callmeter, LiteLLM's calculator and genai-prices', and what each difference is due to.

    python benchmarks/cross_check.py [--seed N] [--quick] [--venvs DIR] [--slice FILE]

Calls are generated for every model of the tables (`crosscheck/calls.py`). Each peer answers in an environment of its
own, of the version that the tables were built from. Where totals differ, the lines they differ in are found by asking
the peer for each alone (`crosscheck/differences.py`), and each falls under a rule of `crosscheck/rules.toml`, which has
the reason and the evidence. The exit code is 1 where one falls under none, where we have no price for what a peer
prices without a rule that says why, or where a rule is of no use any more. `--slice` writes some calls with the peers'
answers, which `tests/pricing/test_cross_check.py` checks without the peers.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.crosscheck import rules
from benchmarks.crosscheck.calls import Asked, calls
from benchmarks.crosscheck.differences import FLOAT, Difference, alike, differences, price, probes
from benchmarks.crosscheck.known import unpriced
from benchmarks.harness import ROOT, Bench, machine, table
from callmeter.pricing import PriceBook
from callmeter.pricing.build.names import providers

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
"""The instant of every call that is not about another one: noon of the day the tables were built."""

PEERS: Mapping[str, str] = {"litellm": "litellm==1.106.2", "genai-prices": "genai-prices==0.2.3"}
"""What is installed: the versions the tables were built from."""

SCRIPTS = {"litellm": "crosscheck/litellm_load.py", "genai-prices": "crosscheck/genai_prices_load.py"}
_NAMES = {"litellm": "litellm", "genai-prices": "genai"}

Answer = dict[str, str]
"""`usd`, or `silent` with the reason."""


class Compared(Struct, frozen=True, kw_only=True):
    """One call of which both had a price, and it was not the same."""

    call: Asked
    ours: Decimal | None
    theirs: Decimal
    lines: list[Difference]


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one peer."""

    peer: str
    asked: int
    silent: int
    equal: int
    compared: Sequence[Compared]

    @property
    def answered(self) -> int:
        return self.equal + len(self.compared)


class Asking:
    """Puts calls to a peer. The files are in a folder that outlives the runs."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench, self._folder, self._times = bench, folder, Counter[str]()

    def __call__(self, peer: str, asked: Sequence[Asked]) -> list[Answer]:
        self._times[peer] += 1
        questions, answers = (self._folder / f"{peer}.{self._times[peer]}.{kind}" for kind in ("calls", "answers"))
        questions.write_bytes(b"".join(msgspec.json.encode(_question(call, peer)) + b"\n" for call in asked))
        self._bench.run(PEERS[peer], SCRIPTS[peer], questions, answers)
        return [msgspec.json.decode(line, type=Answer) for line in answers.read_bytes().splitlines()]

    def known(self, peer: str) -> list[dict[str, Any]]:
        """Everything the peer says it has a price for; once it was asked anything."""
        return [msgspec.json.decode(line) for line in (self._folder / f"{peer}.1.answers.known").open("rb")]


def _question(call: Asked, peer: str) -> dict[str, Any]:
    row = providers().get(call.provider)
    names = [call.provider] if row is None else [*row.names(), *getattr(row, _NAMES[peer])]
    return {**msgspec.to_builtins(call), "names": names}


def generated(seed: int, book: PriceBook, every: int = 1) -> list[Asked]:
    """All calls, or those of every so-manieth model."""
    models = [(provider, model) for provider in book.providers() for model in book.models(provider)]
    return [call for provider, model in models[::every] for call in calls(provider, model, NOW, seed)]


def compare(peer: str, asked: Sequence[Asked], ask: Asking, book: PriceBook) -> Outcome:
    """A peer's prices beside ours, and the lines they differ in."""
    answers = ask(peer, asked)
    differing: list[tuple[Asked, Decimal | None, Decimal]] = []
    silent = equal = 0
    for call, answer in zip(asked, answers, strict=True):
        if "usd" not in answer:
            silent += 1
            continue
        ours, theirs = price(book, call).total, Decimal(answer["usd"])
        if ours is not None and alike(ours, theirs, FLOAT):
            equal += 1
        else:
            differing.append((call, ours, theirs))
    parts = [probes(call) for call, _, _ in differing]
    told = iter(ask(peer, [probe for lines in parts for probe in lines.values()]))
    compared = []
    for (call, ours, theirs), lines in zip(differing, parts, strict=True):
        said = {line: next(told) for line in lines}
        known = {line: Decimal(answer["usd"]) for line, answer in said.items() if "usd" in answer}
        found = differences(peer, call, known, theirs, book, int(NOW.timestamp()))
        compared.append(Compared(call=call, ours=ours, theirs=theirs, lines=found))
    return Outcome(peer=peer, asked=len(asked), silent=silent, equal=equal, compared=compared)


def main() -> int:
    """The command. Returns its exit code."""
    given = _options()
    bench, book, decided = Bench(quick=given.quick, venvs=given.venvs), PriceBook(), rules.read()
    asked = generated(given.seed, book, bench.times(1, 20))
    with tempfile.TemporaryDirectory() as folder:
        ask = Asking(bench, given.keep or Path(folder))
        outcomes = [compare(peer, asked, ask, book) for peer in PEERS]
        missing = [gap for peer in PEERS for gap in unpriced(peer, ask.known(peer), book, NOW)]
    report = Report(outcomes, missing, decided)
    print(report.text(given.seed))
    for line in report.problems(whole=not given.quick):
        print(line, file=sys.stderr)
    return 1 if report.problems(whole=not given.quick) else 0


class Report:
    """The outcomes in words."""

    def __init__(self, outcomes: Sequence[Outcome], missing: Sequence[Any], decided: Sequence[rules.Rule]) -> None:
        self._outcomes, self._missing, self._rules = outcomes, missing, decided
        self.found = [(one, line) for outcome in outcomes for one in outcome.compared for line in one.lines]
        self.by_rule: dict[str, list[tuple[Compared, Difference]]] = {}
        self.undecided: list[Difference] = []
        for one, line in self.found:
            rule = rules.rule_of(line, decided)
            if rule is None:
                self.undecided.append(line)
            else:
                self.by_rule.setdefault(rule.id, []).append((one, line))

    def problems(self, *, whole: bool) -> list[str]:
        """What makes the run fail."""
        found = [f"undecided: {_shown(line)}" for line in self.undecided]
        found += [f"no price of ours: {gap}" for gap in self._missing]
        return found + ([f"of no use: {name}" for name in rules.idle(self._rules, set(self.by_rule))] if whole else [])

    def text(self, seed: int) -> str:
        """The tables."""
        return "\n\n".join((f"{machine()}, seed {seed}.", self._totals(), self._by_rule()))

    def _totals(self) -> str:
        rows = []
        for outcome in self._outcomes:
            lines = Counter(rule.verdict for rule in self._rules for _ in self._of(rule, outcome.peer))
            rows.append(
                [
                    PEERS[outcome.peer],
                    *(f"{n:,}" for n in (outcome.asked, outcome.answered, outcome.equal, len(outcome.compared))),
                    *(f"{lines[verdict]:,}" for verdict in ("peer wrong", "peer silent", "same figure")),
                    f"{sum(line.peer == outcome.peer for line in self.undecided):,}",
                ]
            )
        head = (
            "",
            "calls",
            "it has a price",
            "the same",
            "another",
            "peer wrong",
            "peer silent",
            "same figure",
            "undecided",
        )
        return table(head, rows)

    def _of(self, rule: rules.Rule, peer: str) -> set[tuple[Any, ...]]:
        """The rates that differ for a rule's reason: each counts once, however many calls show it."""
        return {_rate(line) for _, line in self.by_rule.get(rule.id, ()) if line.peer == peer}

    def _by_rule(self) -> str:
        rows = []
        for rule in self._rules:
            hits = self.by_rule.get(rule.id, [])
            if hits:
                rates = len({(line.peer, *_rate(line)) for _, line in hits})
                where = sorted({line.peer for _, line in hits})
                rows.append(
                    [
                        f"{rule.reason} ({'; '.join(rule.evidence)})",
                        ", ".join(where),
                        rule.verdict,
                        f"{rates:,}",
                        f"{len({id(one) for one, _ in hits}):,}",
                    ]
                )
        return table(("why", "peer", "", "rates", "calls"), rows)


def _rate(line: Difference) -> tuple[Any, ...]:
    return (line.provider, line.model, line.line, line.tier, line.region, line.floor, line.at_s)


def _shown(line: Difference) -> str:
    where = " ".join(part for part in (line.tier, line.region, f"from {line.floor}" if line.floor else "") if part)
    return (
        f"{line.peer}: {line.provider}/{line.model} ({line.shape}): {line.line} {where}: "
        f"{line.theirs:.4g}, ours {line.ours}"
        f" ({'/'.join(sorted(line.stated))}); charged as {line.charged_as or 'nothing we know'}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the counts (default: 1)")
    parser.add_argument("--quick", action="store_true", help="every twentieth model only")
    parser.add_argument("--venvs", type=Path, default=ROOT / ".venv-bench", help="folder of the peers' environments")
    parser.add_argument("--keep", type=Path, help="folder that keeps what was asked and answered")
    parser.add_argument("--slice", type=Path, help="write some calls with the peers' answers there")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

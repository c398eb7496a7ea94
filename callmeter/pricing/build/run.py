"""The whole build: from files of facts to the text of every table."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from msgspec import Struct

from callmeter.pricing.build import conflicts, genai_prices, history, litellm, models_dev, overrides, suspects, write
from callmeter.pricing.build.complete import DECIDED, INFERRED
from callmeter.pricing.build.decide import Verdict, decide
from callmeter.pricing.build.join import Dossier, join
from callmeter.pricing.build.names import Provider, providers
from callmeter.pricing.build.offers import same
from callmeter.pricing.build.overrides import Decision, Overrides
from callmeter.pricing.build.suspects import Suspect
from callmeter.pricing.match import canonical

HERE = Path(__file__).parent
DATA = HERE.parent / "data"


class Inputs(Struct, frozen=True, kw_only=True):
    """Where the facts are, and the day they are taken for."""

    models_dev: Path
    litellm: Path
    genai_prices: Path
    as_of: date
    overrides: Path = HERE / "overrides.toml"


class Result(Struct, frozen=True, kw_only=True):
    """What a build comes to."""

    files: Mapping[str, str]
    """Text by file name; to be written only where nothing is open."""
    open: Sequence[Suspect]
    """What nobody has decided yet."""
    idle: Sequence[Decision]
    """Decisions that no model needed."""
    summary: str


def build(inputs: Inputs, data: Path = DATA, *, fresh: bool = False) -> Result:
    """Reads, joins, decides and writes down. Raises `ConfigError` for a source that cannot be understood."""
    offered, patterns = genai_prices.read(inputs.genai_prices, inputs.as_of)
    offers = [*litellm.read(inputs.litellm), *offered, *models_dev.read(inputs.models_dev)]
    by_hand = _by_hand(data)
    dossiers = [
        dossier
        for dossier in join(offers, patterns)
        if _sold_by_call(dossier.provider) and canonical(dossier.model) not in by_hand.get(dossier.provider, ())
    ]
    decisions = overrides.read(inputs.overrides)
    verdicts, settled, undecided = _decided(dossiers, decisions, inputs.as_of)
    sources = _sources(inputs)
    files = dict(_files(verdicts, sources, by_hand, data, inputs.as_of, fresh))
    above = _above(data / "CONFLICTS.md", conflicts.MARK)
    files["CONFLICTS.md"] = conflicts.written(above, verdicts, settled)
    return Result(files=files, open=sorted(undecided), idle=decisions.idle, summary=_summary(files))


def _by_hand(data: Path) -> dict[str, frozenset[str]]:
    """The names of the models written by hand, by provider: they rank highest and are not built again."""
    found: dict[str, frozenset[str]] = {}
    for path in sorted(data.glob("*.toml")):
        entries = tomllib.loads(_above(path, write.MARK)).get("model", [])
        found[path.stem] = frozenset(canonical(n) for e in entries for n in (e["id"], *e.get("aliases", ())))
    return found


def _sold_by_call(provider: str) -> bool:
    row = providers().get(provider)
    return row is None or not (row.plan or row.local)


class _Case:
    """One model on its way through the rules: its verdict so far, and our decisions on it."""

    def __init__(self, dossier: Dossier, decisions: Overrides, as_of: date) -> None:
        self.dossier, self.decisions, self.as_of = dossier, decisions, as_of
        self.settled: list[tuple[Suspect, Decision]] = []
        self.open: list[Suspect] = []
        chosen = decisions.find("price", dossier.provider, dossier.model)
        self._own = [] if chosen is None else [chosen]
        self.look_into(suspects.among(dossier))
        self.verdict = self.decided()

    def look_into(self, found: Iterable[Suspect]) -> None:
        """Takes down suspicions with the decisions on them."""
        for suspect in found:
            decision = self.decisions.find(suspect.kind, suspect.provider, suspect.model)
            if decision is None:
                self.open.append(suspect)
            else:
                self.settled.append((suspect, decision))

    def decided(self) -> Verdict | None:
        """The verdict under all decisions that were found."""
        return decide(self.dossier, self.as_of, overrides.combined([*self._own, *(d for _, d in self.settled)]))


def _decided(
    dossiers: Iterable[Dossier], decisions: Overrides, as_of: date
) -> tuple[list[Verdict], list[tuple[Suspect, Decision]], list[Suspect]]:
    cases = [_Case(dossier, decisions, as_of) for dossier in dossiers]
    first = {(c.dossier.provider, canonical(c.dossier.model)): c.verdict for c in cases}
    for case in cases:
        if case.verdict is not None:
            target = first.get((case.dossier.provider, canonical(case.dossier.alias_of)))
            case.look_into(suspects.within(case.verdict, target))
            case.verdict = case.decided()
    verdicts = [case.verdict for case in cases if case.verdict is not None]
    return verdicts, [pair for case in cases for pair in case.settled], [s for case in cases for s in case.open]


def _files(
    verdicts: Iterable[Verdict],
    sources: Mapping[str, Any],
    by_hand: Mapping[str, frozenset[str]],
    data: Path,
    as_of: date,
    fresh: bool,
) -> Iterator[tuple[str, str]]:
    by_provider: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_provider[verdict.dossier.provider].append(verdict)
    local = {row.id for row in providers().values() if row.local}
    there = {path.stem for path in data.glob("*.toml")}
    for provider in sorted({*by_provider, *there, *local}):
        path = data / f"{provider}.toml"
        authored = _above(path, write.MARK)
        before = [] if fresh else _generated(path, authored)
        row = providers().get(provider) or Provider(id=provider)
        whole, aliases = _folded(by_provider[provider])
        built = write.models(whole, aliases)
        entries = history.kept(before, built, by_hand.get(provider, frozenset()), as_of)
        if authored and not entries:
            continue
        needed = [] if authored else sorted(write.used(entries))
        yield path.name, write.document(row, entries, [sources[name] for name in needed], authored)


def _folded(verdicts: Sequence[Verdict]) -> tuple[list[Verdict], dict[str, list[str]]]:
    """Models without those that are only another name of one, and these names by model."""
    by_name = {canonical(verdict.dossier.model): verdict for verdict in verdicts}
    aliases: dict[str, list[str]] = defaultdict(list)
    whole: list[Verdict] = []
    for verdict in verdicts:
        target = by_name.get(canonical(verdict.dossier.alias_of)) if verdict.dossier.alias_of else None
        if target is not None and target is not verdict and _alike(verdict, target):
            aliases[target.dossier.model].append(verdict.dossier.model)
        else:
            whole.append(verdict)
    return whole, aliases


def _alike(one: Verdict, other: Verdict) -> bool:
    """Whether a model that one collection alone names has all its prices from the entry of another."""
    if len(one.dossier.offers) > 1 or other.dossier.alias_of:
        return False
    stated, whole = one.figures, other.figures
    return all(
        slot in whole and same(figure.price, whole[slot].price)
        for slot, figure in stated.items()
        if figure.source != INFERRED
    )


def _above(path: Path, mark: str) -> str:
    """What is written by hand in a file; all of one that was never generated."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return text.partition(mark)[0].rstrip()


def _generated(path: Path, authored: str) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    written = path.read_text(encoding="utf-8").partition(write.MARK)[2]
    found: list[dict[str, Any]] = tomllib.loads(written).get("model", [])
    return found


def _sources(inputs: Inputs) -> dict[str, Any]:
    """The collections as `[[source]]`, with the day they were read and the version that was."""
    snapshot = re.search(r"\d{4}-\d\d-\d\d", inputs.models_dev.read_text(encoding="utf-8")[-400:])
    day = date.fromisoformat(snapshot[0]) if snapshot else inputs.as_of
    return {
        "models.dev": write.source("models.dev", day, "snapshot of its repository"),
        "litellm": write.source("litellm", inputs.as_of, _version(inputs.litellm, "litellm")),
        "genai-prices": write.source("genai-prices", inputs.as_of, _version(inputs.genai_prices, "genai_prices")),
        "inferred": write.source(
            "inferred", None, "no source states the figure; the rate's note says how it was found"
        ),
        DECIDED: write.source(DECIDED, None, "our decision; the rate's note has the reason"),
    }


def _version(path: Path, package: str) -> str:
    """The version of the installed package a file is of; nothing for a file of its own."""
    found = sorted(path.parent.parent.glob(f"{package}-*.dist-info"))
    return found[-1].name.removesuffix(".dist-info").rpartition("-")[2] if found else ""


def _summary(files: Mapping[str, str]) -> str:
    models = {name: text.count("\n[[model]]\n") for name, text in files.items() if name.endswith(".toml")}
    return f"{sum(1 for count in models.values() if count)} providers, {sum(models.values())} models"

"""Rates agreed with a provider and percentages off its list, worked into its table. `overrides.py` reads them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from callmeter.errors import ConfigError
from callmeter.pricing import authored
from callmeter.pricing.match import find, spellings
from callmeter.pricing.rates import EXACT, TOKEN_LINES, Rate
from callmeter.pricing.table import Index, Model, Table

USER = "user"
"""What the source of such a rate begins with."""

_WILD = frozenset("*?[")


class Contract(Struct, frozen=True, kw_only=True):
    """A model's rates as agreed with a provider."""

    provider: str
    model: Model
    names: tuple[str, ...]
    """Canonical names: the id and the aliases."""
    reason: str = ""


class Discount(Struct, frozen=True, kw_only=True):
    """A percentage off a provider's rates."""

    provider: str
    pattern: str
    """Canonical name, or one with `*` and `?` in it; `*` for every model."""
    percent: Decimal
    start_s: int = 0
    until_s: int | None = None
    lines: frozenset[str] = frozenset()
    """The lines it holds for; empty for all."""
    reason: str = ""

    @property
    def exact(self) -> bool:
        """Whether it names one model."""
        return _WILD.isdisjoint(self.pattern)

    @property
    def rank(self) -> tuple[bool, int]:
        """The discount with the highest applies, alone: a name before a pattern, a longer pattern before a shorter."""
        return self.exact, sum(char not in _WILD for char in self.pattern)

    @property
    def label(self) -> str:
        """What the source of a rate says about it."""
        off = f"{self.percent.normalize():f}% off"
        return f"{USER}: {self.reason}, {off}" if self.reason else f"{USER}: {off}"

    def models(self, table: Table) -> Iterator[int]:
        """The positions of the models it is for: a name's one, by any of its names, or all that fit the pattern."""
        if self.exact:
            position = _listed(self.pattern, table)
            yield from () if position is None else (position,)
        else:
            fitting = (position for name, position in table.names.items() if fnmatchcase(name, self.pattern))
            yield from dict.fromkeys(fitting)

    def covers(self, at_s: int) -> bool:
        """Whether it holds at an instant."""
        return self.start_s <= at_s and (self.until_s is None or at_s < self.until_s)

    def meets(self, other: "Discount") -> bool:
        """Whether the two name the same models, and hold for some line at some instant both."""
        apart = any(a.until_s is not None and a.until_s <= b.start_s for a, b in ((self, other), (other, self)))
        lines = not self.lines or not other.lines or not self.lines.isdisjoint(other.lines)
        return (self.provider, self.pattern) == (other.provider, other.pattern) and lines and not apart


class Overrides(Struct, frozen=True, kw_only=True):
    """Everything a file says."""

    path: str
    models: tuple[Contract, ...] = ()
    discounts: tuple[Discount, ...] = ()
    hash: str = ""
    """Of the file, a part of the stamp of tables it changes."""

    def resolved(self, index: Index) -> "Overrides":
        """The same with every provider under the name its table has. Raises `ConfigError` as `refuse_twins` does."""
        slug = index.providers.get
        found = replace(
            self,
            models=tuple(replace(entry, provider=slug(entry.provider, entry.provider)) for entry in self.models),
            discounts=tuple(replace(entry, provider=slug(entry.provider, entry.provider)) for entry in self.discounts),
        )
        found.refuse_twins()
        return found

    def refuse_twins(self) -> None:
        """Raises `ConfigError` for two entries that would both have the last word: which is meant nobody can guess."""
        names: dict[tuple[str, str], int] = {}
        for position, entry in enumerate(self.models, 1):
            for name in entry.names:
                other = names.setdefault((entry.provider, name), position)
                if other != position:
                    raise ConfigError(
                        f"{self.path}: [[model]] {other} and {position} are both for {name!r} at {entry.provider}; "
                        "put their rates into one entry"
                    )
        for second, one in enumerate(self.discounts, 1):
            for first, two in enumerate(self.discounts[: second - 1], 1):
                if one.meets(two):
                    raise ConfigError(
                        f"{self.path}: [[discount]] {first} and {second} are both for {one.pattern!r} at "
                        f"{one.provider} at the same time; end one with until, or give them different lines"
                    )

    @property
    def providers(self) -> frozenset[str]:
        """Everybody whose prices it changes."""
        return frozenset((*(entry.provider for entry in self.models), *(entry.provider for entry in self.discounts)))

    def index(self, index: Index) -> Index:
        """An index that has the contracts' providers and names too. Providers as `resolved` leaves them."""
        providers, owners = dict(index.providers), dict(index.owners)
        for entry in self.models:
            providers.setdefault(entry.provider, entry.provider)
            for name in entry.names:
                # A contract with one host of a model does not make the bare name of another's ambiguous.
                if name not in index.owners:
                    owners[name] = tuple(dict.fromkeys((*owners.get(name, ()), entry.provider)))
        return replace(index, providers=providers, owners=owners) if self.models else index

    def table(self, provider: str, table: Table | None) -> Table | None:
        """A provider's table with all this in it; the same one where nothing is about that provider.

        Raises `ConfigError` where a contract's rate and one of the table's are equally specific.
        """
        contracts = [entry for entry in self.models if entry.provider == provider]
        discounts = [entry for entry in self.discounts if entry.provider == provider]
        if not contracts and (table is None or not discounts):
            return table
        made = table if table is not None else Table(provider=provider, prefixes=(f"{provider}/",))
        discounted = _with_discounts(made, discounts)
        stamp = "+".join(part for part in (made.hash, f"user.{self.hash}") if part)
        return replace(_with_contracts(discounted, contracts), hash=stamp)


def _with_discounts(table: Table, discounts: Sequence[Discount]) -> Table:
    if not discounts:
        return table
    ranked = sorted(discounts, key=lambda discount: discount.rank, reverse=True)
    holds: dict[int, list[Discount]] = {}
    for discount in ranked:
        for position in discount.models(table):
            holds.setdefault(position, []).append(discount)
    models = list(table.models)
    for position, found in holds.items():
        models[position] = discounted(models[position], found)
    return replace(table, models=tuple(models))


def discounted(model: Model, discounts: Sequence[Discount]) -> Model:
    """The model under the discounts, highest rank first: at every instant at most one of them holds for a rate."""
    return replace(model, rates=tuple(piece for rate in model.rates for piece in _pieces(rate, discounts)))


def _pieces(rate: Rate, discounts: Sequence[Discount]) -> list[Rate]:
    """A rate cut where discounts begin and end, each piece under the discount that holds then."""
    discounts = [discount for discount in discounts if not discount.lines or rate.line in discount.lines]
    cuts = {rate.start_s}
    for discount in discounts:
        ends = (discount.start_s, discount.until_s)
        cuts |= {at for at in ends if at is not None and _within(at, rate)}
    starts = sorted(cuts)
    pieces = []
    for start, until in zip(starts, [*starts[1:], rate.until_s], strict=True):
        holds = next((discount for discount in discounts if discount.covers(start)), None)
        piece = replace(rate, start_s=start, until_s=until)
        pieces.append(piece if holds is None else _less(piece, holds))
    return pieces


def _within(at: int, rate: Rate) -> bool:
    return rate.start_s < at and (rate.until_s is None or at < rate.until_s)


def _less(rate: Rate, discount: Discount) -> Rate:
    """A rate less a percentage: rounded once, half to even, to 1e-15 USD a unit."""
    left = EXACT.multiply(Decimal(rate.femtos), EXACT.subtract(Decimal(100), discount.percent))
    femtos = int(EXACT.scaleb(left, -2).to_integral_value(context=EXACT))
    if not femtos and left:
        # Only all of it off makes it nothing.
        femtos = 1
    source = f"{rate.source}, {discount.label}" if rate.source else discount.label
    return replace(rate, femtos=femtos, source=source)


def _with_contracts(table: Table, contracts: Sequence[Contract]) -> Table:
    names, models = dict(table.names), list(table.models)
    taken: dict[int, str] = {}
    for entry in contracts:
        position = next((at for name in entry.names if (at := _listed(name, table)) is not None), None)
        if position is None:
            position = len(models)
            models.append(_unlisted(entry, table))
        else:
            models[position] = agreed(models[position], entry.model)
        _fitting(models[position], entry)
        if taken.setdefault(position, entry.model.id) != entry.model.id:
            raise ConfigError(
                f"[[model]] {taken[position]!r} and {entry.model.id!r} are names of one model of {entry.provider}; put "
                "their rates into one entry"
            )
        names |= dict.fromkeys(entry.names, position)
    return replace(table, names=names, models=tuple(models))


def _listed(name: str, table: Table) -> int | None:
    """The position of the model that has this very name."""
    return next((table.names[form] for form in spellings(name, table) if form in table.names), None)


def _unlisted(entry: Contract, table: Table) -> Model:
    """A contract for a name that is not listed. If it is priced as another's, it still is where the contract is not."""
    position, _ = find(entry.names[0], table)
    if position is None:
        return entry.model
    return replace(agreed(table.models[position], entry.model), id=entry.model.id)


def _fitting(model: Model, entry: Contract) -> None:
    try:
        authored.check(model)
    except ConfigError as error:
        raise ConfigError(
            f"[[model]] {entry.model.id!r} of {entry.provider} meets the table's rates: {error}"
        ) from None


def agreed(listed: Model, contract: Model) -> Model:
    """A listed model under a contract: the contract's rates, and the listed ones for as long as it has none."""
    if contract.free:
        return replace(listed, free=True, rates=())
    kept = [piece for rate in listed.rates for piece in _outside(rate, contract.rates)]
    rates = sorted((*kept, *contract.rates), key=lambda r: (r.start_s, r.tier, r.region, r.floor, r.line))
    limits = contract.limits if contract.limits is not None else listed.limits
    return replace(listed, free=False, rates=tuple(rates), limits=limits)


def _outside(rate: Rate, contract: Iterable[Rate]) -> list[Rate]:
    """What is left of a rate's time where no rate of the contract takes its place."""
    left = [(rate.start_s, rate.until_s)]
    for other in filter(lambda other: _displaces(other, rate), contract):
        left = [rest for span in left for rest in _minus(span, other)]
    return [replace(rate, start_s=start, until_s=until) for start, until in left]


def _displaces(agreed: Rate, listed: Rate) -> bool:
    lines = {agreed.line, listed.line}
    alike = len(lines) == 1 or lines <= TOKEN_LINES
    same = agreed.tier in ("", listed.tier) and agreed.region in ("", listed.region)
    return alike and same and agreed.window in ("", listed.window)


def _minus(span: tuple[int, int | None], other: Rate) -> list[tuple[int, int | None]]:
    start, until = span
    found: list[tuple[int, int | None]] = []
    if start < other.start_s:
        found.append((start, other.start_s if until is None else min(until, other.start_s)))
    if other.until_s is not None and (until is None or other.until_s < until):
        found.append((max(start, other.until_s), until))
    return found

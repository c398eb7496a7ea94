"""A book of prices: from a model's name and what was consumed to what it cost."""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

from msgspec.structs import replace

from callmeter.pricing.charging import cost_of, of_family
from callmeter.pricing.match import canonical, find
from callmeter.pricing.plan import STANDARD, Charge, Plan, build
from callmeter.pricing.quantities import InvalidUsage, Quantities, disjoint, pieces
from callmeter.pricing.rates import INPUT_LINES, OUTPUT_LINES, USER, charge, usd
from callmeter.pricing.shelf import Shelf, default_place
from callmeter.pricing.table import Index, Limits, Model, Table
from callmeter.types import Cost, Usage

At = datetime | int | None
"""The instant a call was made: aware, or nanoseconds since the epoch; None is now."""

CountTokens = Callable[[str, str | list[Any]], int]
"""Tokens of a text, or of messages in OpenAI's format, for a model."""

REMEMBERED = 4096
"""Names whose plan is remembered, unknown names included."""

MAX_NAME = 256
"""Characters. A longer name is no model's, and is not kept in memory."""

GUARDRAIL = "guardrail"
"""The mode of an entry that prices what looks at calls of other models."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NO_USAGE = Cost(status="no_usage", reason="no usage is known for this call")


class _Found:
    """What a name stands for: a plan from a table, or the cost that says why there is none."""

    __slots__ = ("model", "plan", "table", "unpriced")

    def __init__(self, plan: Plan | None, table: str = "", model: Model | None = None, why: str = "") -> None:
        self.plan, self.table, self.model = plan, table, model
        self.unpriced = Cost(status="unpriced", reason=why, table=table)


class PriceBook:
    """Prices by provider and model, past ones included. A provider's table is read when it is first asked for.

    Prices of your own rank highest: `register()` them, or pass them as `prices` in the same form. Safe to share
    between threads. The tables are those of the package, or of a `shelf` that has newer ones or overrides.
    """

    def __init__(
        self,
        prices: Iterable[Mapping[str, Any]] = (),
        *,
        now_ns: Callable[[], int] = time.time_ns,
        shelf: Shelf | None = None,
    ) -> None:
        self.count_tokens: CountTokens | None = None
        """Counts text for the helpers of `compat`; None for `tokens.count_tokens`."""
        self.price_map: Mapping[str, dict[str, Any]] = {}
        """What `compat.register_model` was given, by name."""
        self._now_ns = now_ns
        self._own: dict[tuple[str, str], Model] = {}
        self._shelf = Shelf() if shelf is None else shelf
        self._tables: dict[str, Table] = {}
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._find = lru_cache(REMEMBERED)(self._look_up)
        for entry in prices:
            self.register(entry)

    def price(
        self,
        model: str,
        usage: Usage | None,
        *,
        provider: str | None = None,
        at: At = None,
        service_tier: str | None = None,
        region: str | None = None,
    ) -> Cost:
        """What the usage cost at that instant, with its items.

        Whatever the usage holds, this answers with a status and a reason and does not raise. Raises `ValueError` for an
        instant without a time zone.
        """
        return self._price(model, usage, provider, at, service_tier, region)

    def _price(
        self, model: str, usage: Usage | None, provider: str | None, at: At, tier: str | None, region: str | None
    ) -> Cost:
        at_ns = at if at.__class__ is int else self._instant(at)
        if usage is None:
            return _NO_USAGE
        try:
            quantities = disjoint(usage)
        except InvalidUsage as problem:
            return Cost(status="invalid_usage", reason=str(problem))
        found = self._found(model, provider, tier, region)
        plan = found.plan
        if plan is None:
            return found.unpriced
        return cost_of(plan, found.table, quantities, usage.input_tokens, at_ns)

    def price_as(
        self,
        entry: Model,
        usage: Usage | None,
        *,
        at: At = None,
        service_tier: str | None = None,
        region: str | None = None,
    ) -> Cost:
        """`price` under an entry of the caller's own (see `own.own_price`), whatever this book has for its name."""
        at_ns = self._instant(at)
        if usage is None:
            return _NO_USAGE
        try:
            quantities = disjoint(usage)
        except InvalidUsage as problem:
            return Cost(status="invalid_usage", reason=str(problem))
        tier = service_tier if type(service_tier) is str else None
        return cost_of(_planned_once(entry, tier, region), USER, quantities, usage.input_tokens, at_ns)

    def bound(
        self,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        provider: str | None = None,
        at: At = None,
        service_tier: str | None = None,
        region: str | None = None,
        units: Mapping[str, Decimal | int] | None = None,
    ) -> Decimal | None:
        """USD that a call of at most these quantities cannot exceed; None where a rate it may need is not known.

        Each token is taken at the dearest line it can land on: one-hour cache writes, audio where the model has it, the
        rate of a longer context. Raises `ValueError` for quantities that cannot be.
        """
        asked = list(pieces(units or {}))
        disjoint(Usage(input_tokens=input_tokens, output_tokens=output_tokens))
        plan = self._found(model, provider, service_tier, region).plan
        if plan is None:
            return None
        if plan.free:
            return Decimal(0)
        sheets = [sheet for sheet in plan.in_force(self._instant(at)) if sheet.floor <= input_tokens]
        bounds = [_bound(sheet.charges, input_tokens, output_tokens, asked) for sheet in sheets]
        known = [bound for bound in bounds if bound is not None]
        return usd(max(known)) if known and len(known) == len(bounds) else None

    def limits(self, model: str, provider: str | None = None) -> Limits | None:
        """The model's token limits; None where it, or they, are not known."""
        known = self._found(model, provider, None, None).model
        return known.limits if known is not None else None

    def model(self, model: str, provider: str | None = None) -> Model | None:
        """The model's entry: mode, limits, tokenizer and all its rates; None where it is not known."""
        return self._found(model, provider, None, None).model

    def now_ns(self) -> int:
        """The instant of prices that are asked for without one, nanoseconds since the epoch."""
        return self._now_ns()

    def providers(self) -> list[str]:
        """Everyone whose prices the book has."""
        return sorted({*self._shipped().providers.values(), *(slug for slug, _ in self._own if slug)})

    def models(self, provider: str) -> list[Model]:
        """A provider's models, registered ones last."""
        slug = self._slug(provider)
        table = self._table(slug)
        own = {id(model): model for (owner, _), model in self._own.items() if owner == slug}
        return [*(table.models if table is not None else ()), *own.values()]

    def owner(self, model: str) -> str | None:
        """The one provider that offers a bare name; None where nobody or more than one does."""
        owners = self._owners(canonical(model)) if isinstance(model, str) else ()
        return owners[0] if len(owners) == 1 else None

    def registered(self, model: str, provider: str | None = None) -> bool:
        """Whether prices were registered for the model."""
        return bool(self._own) and self._found(model, provider, None, None).table == USER

    def sells(self, provider: str) -> bool:
        """Whether this book has prices of a provider, under that name or another one of it."""
        return self._is_provider(provider)

    def at_host(self, host: str) -> str | None:
        """The provider whose prices hold for calls to a host such as `api.openai.com`; None for any other host."""
        return self._shipped().hosts.get(host.strip().casefold())

    def register(self, entry: Mapping[str, Any], provider: str | None = None) -> None:
        """Prices of your own for a model, in the form of `data/*.toml`, in place of all the book had for its names.

        Without a provider they hold for the name wherever it is served. Raises `ConfigError` for what is no price.
        """
        self.register_all([(entry, provider)])

    def register_all(self, entries: Iterable[tuple[Mapping[str, Any], str | None]]) -> None:
        """`register` for several entries with their providers: all of them, or none where one is refused."""
        from callmeter.pricing import authored

        own = dict(self._own)
        for entry, provider in entries:
            made = authored.model(entry, source=USER)
            slug = self._slug(provider) if provider else ""
            own |= {(slug, self._form(name, slug)): made for name in (made.id, *entry.get("aliases", ()))}
        self._own = own
        # Replaced, not cleared: a look-up under way in another thread fills the old one.
        self._find = lru_cache(REMEMBERED)(self._look_up)

    def use(self, table: Table) -> None:
        """Take this table of a provider in place of the one that ships, such as an earlier version of it."""
        self._tables = {**self._tables, table.provider: table}
        self._plans = {}
        self._find = lru_cache(REMEMBERED)(self._look_up)

    def read_from(self, shelf: Shelf) -> None:
        """Take tables and overrides from another shelf from now on. What was registered stays."""
        self._shelf, self._tables, self._plans = shelf, {}, {}
        self._find = lru_cache(REMEMBERED)(self._look_up)

    def _form(self, name: str, slug: str) -> str:
        """A name as it is looked up at a provider: canonical, without the provider before it."""
        form = canonical(name)
        table = self._table(slug)
        prefixes = table.prefixes if table is not None else (f"{slug}/",)
        return next((form[len(p) :] for p in prefixes if slug and form.startswith(p) and len(form) > len(p)), form)

    def _instant(self, at: At) -> int:
        if at is None:
            return self._now_ns()
        if type(at) is int:
            return at
        if not isinstance(at, datetime):
            raise TypeError(f"at is {at!r}; pass an aware datetime, or nanoseconds since the epoch as an int")
        try:
            since = at - _EPOCH
        except TypeError:
            raise ValueError(
                f"at is {at!r}, which has no time zone; pass datetime(…, tzinfo=UTC) or the zone it is in"
            ) from None
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000

    def _found(self, model: str, provider: str | None, tier: str | None, region: str | None) -> _Found:
        if type(model) is not str or len(model) > MAX_NAME:
            return _Found(None, why=f"{model!r:.80} is no model's name")
        try:
            return self._find(model, provider, tier, region)
        except TypeError:
            # Whatever a caller put into `service_tier` arrives here; only what is not text can be at fault.
            wrong = [v for v in (provider, tier, region) if v is not None and type(v) is not str]
            if not wrong:
                raise
            return _Found(None, why=f"{wrong[0]!r:.80} is no name of a provider, service tier or region")

    def _look_up(self, model: str, provider: str | None, tier: str | None, region: str | None) -> _Found:
        if any(value is not None and type(value) is not str for value in (provider, tier, region)):
            raise TypeError("names are text")
        slug, name, why = self._home(model, provider)
        own = self._registered(slug, name) or self._registered("", model)
        if own is not None:
            return self._planned(own, slug, USER, tier, region)
        if not slug:
            return _Found(None, why=why)
        table = self._table(slug)
        if table is None:
            return _Found(None, why=f"unknown model {name!r}: there is no price table for the provider {slug!r}")
        stamp = f"{slug}@{table.hash}"
        position, tried = find(name, table)
        if position is not None:
            tier = table.tiers.get(tier.casefold(), tier) if tier else tier
            if region and table.elsewhere and region.casefold() != "global":
                region = table.elsewhere
            return self._planned(table.models[position], slug, stamp, tier, region, table.models)
        if table.free:
            if not tried[0].endswith(table.unpriced_suffixes):
                return _Found(Plan(name, (), (), free=True), stamp)
            return _Found(None, stamp, why=f"{name!r} runs in the provider's cloud, which is charged by plan")
        return _Found(None, stamp, why=f"unknown model {name!r} at {slug}; tried {', '.join(tried)}")

    def _planned(
        self,
        model: Model,
        slug: str,
        table: str,
        tier: str | None,
        region: str | None,
        beside: Iterable[Model] = (),
    ) -> _Found:
        tier, region = (tier or STANDARD).casefold(), (region or "").casefold()
        if table == USER:
            return _Found(build(model, tier, region), table, model)
        # The table's stamp and not the provider alone: a damaged table is exchanged for another while we run.
        key = (table, model.id, tier, region)
        plan = self._plans.get(key)
        if plan is None:
            plan = build(_guarded(model, beside), tier, region)
            if len(self._plans) < REMEMBERED:
                self._plans[key] = plan
        return _Found(plan, table, model)

    def _home(self, model: str, provider: str | None) -> tuple[str, str, str]:
        """Who bills the call and the name there; else an empty provider and the reason."""
        if provider:
            return self._slug(provider), model, ""
        prefix, slash, rest = model.partition("/")
        if slash and rest and self._is_provider(prefix):
            return self._slug(prefix), rest, ""
        owners = self._owners(canonical(model))
        if len(owners) == 1:
            return owners[0], model, ""
        if owners:
            return "", model, f"ambiguous: {', '.join(owners)} offer {model!r}; pass provider="
        return "", model, f"unknown model {model!r}; no provider is known to offer it, pass provider="

    def _registered(self, slug: str, name: str) -> Model | None:
        if not self._own:
            return None
        return self._own.get((slug, self._form(name, slug))) or self._own.get(("", canonical(name)))

    def _owners(self, form: str) -> tuple[str, ...]:
        index = self._shipped()
        maker = index.makers.get(form)
        listed = (maker,) if maker else index.owners.get(form, ())
        own = [slug for slug, name in self._own if name == form and slug] if self._own else []
        return tuple(dict.fromkeys((*listed, *own)))

    def _is_provider(self, name: str) -> bool:
        slug = name.strip().casefold()
        return slug in self._shipped().providers or any(owner == slug for owner, _ in self._own)

    def _slug(self, provider: str) -> str:
        name = provider.strip().casefold()
        return self._shipped().providers.get(name, name)

    def _shipped(self) -> Index:
        return self._shelf.index()

    def _table(self, slug: str) -> Table | None:
        table = self._tables.get(slug)
        if table is None and slug in self._shipped().providers:
            table = self._shelf.table(slug)
            if table is not None:
                self._tables[slug] = table
        return table


def _guarded(model: Model, beside: Iterable[Model]) -> Model:
    """The model with the rates of its provider's guardrails, which are billed with a call of any model."""
    if model.mode == GUARDRAIL or not model.rates:
        return model
    since = min(rate.start_s for rate in model.rates)
    theirs = (rate for other in beside if other.mode == GUARDRAIL for rate in other.rates)
    return replace(model, rates=(*model.rates, *(replace(r, start_s=max(r.start_s, since)) for r in theirs)))


@cache
def default_book() -> PriceBook:
    """The book of the module-level functions, made at first use. It reads the home that the settings name."""
    return PriceBook(shelf=Shelf(default_place))


def price(
    model: str,
    usage: Usage | None,
    *,
    provider: str | None = None,
    at: At = None,
    service_tier: str | None = None,
    region: str | None = None,
) -> Cost:
    """`PriceBook.price` of the default book."""
    return default_book()._price(model, usage, provider, at, service_tier, region)


@lru_cache(512)
def _planned_once(entry: Model, tier: str | None, region: str | None) -> Plan:
    return build(entry, (tier or STANDARD).casefold(), (region or "").casefold())


def _bound(charges: Mapping[str, Charge], inputs: int, outputs: int, units: Quantities) -> int | None:
    dear_in = max((charges[line].femtos for line in INPUT_LINES if line in charges), default=None)
    dear_out = max((charges[line].femtos for line in OUTPUT_LINES if line in charges), default=None)
    if (inputs and dear_in is None) or (outputs and dear_out is None):
        return None
    found = [(charges.get(line) or of_family(charges, line), quantity) for line, quantity in units]
    if any(charged is None for charged, _ in found):
        return None
    pieces_cost = sum(charge(quantity, charged.femtos) for charged, quantity in found if charged is not None)
    return inputs * (dear_in or 0) + outputs * (dear_out or 0) + pieces_cost

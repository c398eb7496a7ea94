"""What the price table knows of a deployment's model: what it costs, and how much it can read."""

from decimal import Decimal

import msgspec

from callmeter.client.estimate import prompt_tokens
from callmeter.client.operations import CHAT
from callmeter.client.prices import base_model_of, cost_of, price_given
from callmeter.client.resolve import provider_of
from callmeter.client.router.members import Member
from callmeter.errors import APIError
from callmeter.pricing import PriceBook
from callmeter.pricing.tokens import count_tokens
from callmeter.types import Call, Deployment, Usage

SAMPLE = Usage(input_tokens=1_000, output_tokens=1_000)
"""What prices are compared by."""

KEPT_S = 60
"""Prices may have times of the day; one that was looked up holds for so long."""

DOUBT = (6, 16)
"""An estimate of a prompt's tokens may be off from six to sixteen tenths; nearer a window they are counted."""


class Appraisal:
    """Prices and windows of deployments by a book's tables, remembered for a while."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._prices: dict[tuple[str, str], tuple[int, Decimal | None]] = {}
        self._windows: dict[tuple[str, str], int | None] = {}

    def price(self, member: Member) -> Decimal | None:
        """USD a token, for as many tokens in as out; None where no price is known."""
        key, minute = (member.id, member.model), self._book.now_ns() // (KEPT_S * 10**9)
        known = self._prices.get(key)
        if known is None or known[0] != minute:
            known = self._prices[key] = minute, self._priced(member)
        return known[1]

    def windowed(self, member: Member) -> Member:
        """The member with the tokens its prompts may have, as its entry or else the table says."""
        if member.window is not None:
            return member
        key = (member.id, member.model)
        if key not in self._windows:
            self._windows[key] = self._window(member)
        window = self._windows[key]
        return member if window is None else msgspec.structs.replace(member, window=window)

    def _placed(self, member: Member) -> Deployment:
        row, name = provider_of(member.model, member.params.get("custom_llm_provider"), self._book.owner)
        return Deployment(
            provider=row.name,
            model=name,
            codec="",
            api_base=member.params.get("api_base") or "",
            region=member.params.get("region") or "",
            base_model=base_model_of(member.params),
            own_price=price_given(row, name, member.params),
        )

    def _priced(self, member: Member) -> Decimal | None:
        try:
            where = self._placed(member)
        except APIError:
            return None  # a call that goes there will say what is wrong
        cost = cost_of(self._book, where, SAMPLE, at_ns=self._book.now_ns(), service_tier=None)
        return None if cost.total is None else cost.total / (SAMPLE.input_tokens + SAMPLE.output_tokens)

    def _window(self, member: Member) -> int | None:
        try:
            where = self._placed(member)
        except APIError:
            return None
        names = ((where.base_model, None), (where.model, where.provider))
        known = next((model for name, of in names if name and (model := self._book.model(name, of))), None)
        limits = known.limits if known is not None else None
        return None if limits is None else limits.input or limits.context


def prompt_size(call: Call, members: tuple[Member, ...]) -> int:
    """About how many tokens the call's prompt has; counted where the estimate leaves it open whether it fits."""
    estimate = prompt_tokens(call)
    low, high = estimate * DOUBT[0] // 10, estimate * DOUBT[1] // 10
    near = next((member for member in members if member.window is not None and low <= member.window < high), None)
    if near is None or call.operation != CHAT.name:
        return estimate
    return count_tokens(near.model, messages=call.messages, tools=call.params.get("tools")).tokens

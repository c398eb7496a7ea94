"""The shared nouns: what a call is, what it consumed and what that cost.

Every struct here is frozen. Money is `Decimal` in USD, token counts are integers, and what is not known is `None`.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

UsageSource = Literal["provider", "counted", "none"]
"""Where the counts came from: the provider's answer, our own counting of what was delivered, or nowhere."""

CostStatus = Literal["priced", "free", "partial", "unpriced", "no_usage", "invalid_usage"]
"""How far a cost can be trusted. Only `priced` and `free` are complete; `partial` is a known subtotal."""


class Secret:
    """A credential that cannot be printed by accident: `str`, `repr` and formatting show a mask.

    `reveal()` is the only way to the value; grep for it to see every place a key leaves us.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The credential itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('****')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not pickled: pass the name of the environment variable that holds it instead")


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Units consumed by one attempt or one call. Totals include their parts.

    `input_tokens` contains cache reads, both kinds of cache writes, audio, image and video input; `output_tokens`
    contains reasoning, audio and image output. Codecs make it so, whatever the provider counts.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    """Written to a cache with the five-minute life time (or the provider's only one)."""
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int | None = None
    """Hidden reasoning within `output_tokens`; None where the provider does not say."""
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    cache_read_audio_tokens: int = 0
    """Audio within `cache_read_tokens` (and within `input_audio_tokens`)."""
    input_image_tokens: int = 0
    output_image_tokens: int = 0
    input_video_tokens: int = 0
    units: Mapping[str, Decimal | int] = {}
    """Everything that is not a token, by line: `image`, `search.web`, `audio_second`, `page`, `request`, …"""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class CostItem(Struct, frozen=True, omit_defaults=True, gc=False):
    """One line of a cost: quantity times rate is amount, exactly."""

    line: str
    """What was charged: `input`, `cache_read`, `output`, `search.web`, …"""
    quantity: int | Decimal
    unit: str
    """What the quantity counts: `token`, `image`, `request`, …"""
    rate: Decimal
    """USD for one unit."""
    amount: Decimal
    """USD; the rate was rounded to 1e-15 USD when the table was built, so this product is exact."""
    source: str = ""
    """Where the rate was read: the source's id in the price table, or `user`."""
    since: str = ""
    """The instant from which the rate is in force, RFC 3339."""
    via: str = ""
    """The line whose rate was used because this line has none of its own."""
    tier: str = ""
    """The condition the rate was chosen by: service tier, region, `>200000`, …"""


class Cost(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a call cost: exact, with its lines, or None with a reason. Computed once and shown everywhere."""

    total: Decimal | None = None
    """USD, the sum of `items`; None where nothing is known, which is not the same as free."""
    currency: str = "USD"
    status: CostStatus = "unpriced"
    items: tuple[CostItem, ...] = ()
    reason: str = ""
    """Why the cost is not complete: `unknown model 'x'`, `ambiguous: openai, azure`, `no rate for audio_in`, …"""
    estimated: bool = False
    """True where the quantities were counted by us, not reported by the provider."""
    low: Decimal | None = None
    high: Decimal | None = None
    """The band of an estimate, USD."""
    reported: Decimal | None = None
    """What the provider itself said the call cost, USD, kept beside ours."""
    saved: Decimal | None = None
    """What cache reads saved against the full input rate, or the response cache against the whole cost, USD."""
    table: str = ""
    """Hash of the price table that gave the rates."""


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds an attempt may take, by phase; None waits for ever."""

    connect_s: float | None = 10.0
    first_byte_s: float | None = 600.0
    between_chunks_s: float | None = 600.0
    total_s: float | None = None
    """The whole attempt, from sending the request to the last byte of a plain answer, or to the head of a stream."""


class Deployment(Struct, frozen=True, kw_only=True):
    """Where an attempt is sent: a provider, a model there, an address and a key."""

    provider: str
    model: str
    """The model as the provider knows it, without our prefix."""
    codec: str
    """Name of the wire format: a module of `callmeter.client.codecs`."""
    api_base: str
    api_key: Secret | None = None
    headers: Mapping[str, str] = {}
    """Sent with every request to this deployment."""
    id: str = ""
    region: str = ""
    base_model: str = ""
    """The model whose price applies where the deployment's own name says nothing (Azure, private hosts)."""
    own_price: Any = None
    """A `callmeter.pricing.table.Model` with the prices that the caller gave for this deployment alone, or None."""
    quirks: Mapping[str, Any] = {}
    """The provider row's deviations from its wire format, by name."""
    variables: Mapping[str, str] = {}
    """What else the provider's addresses and credentials take, by name: `api_version`, `project`, `location`, …"""
    signer: Any = None
    """A `callmeter.wire.Signer` where credentials are more than a key in a header."""


class Call(Struct, frozen=True, kw_only=True):
    """One request of the caller's, before any provider is involved."""

    id: str
    operation: str
    model: str
    """As the caller wrote it, prefix and all."""
    messages: Sequence[Any] = ()
    """Messages in OpenAI's format: dicts, or objects of ours handed back."""
    params: Mapping[str, Any] = {}
    """OpenAI parameters the caller set (`temperature`, `tools`, …), without those left at None."""
    extra: Mapping[str, Any] = {}
    """Parameters OpenAI does not know; they go into the body as they are."""
    stream: bool = False
    include_usage: bool = False
    """The caller asked for the stream's usage chunk; otherwise we ask for it and hide it."""
    drop_params: bool = False
    additional_drop_params: Sequence[str] = ()
    allowed_openai_params: Sequence[str] = ()
    headers: Mapping[str, str] = {}
    timeouts: Timeouts = Timeouts()
    max_retries: int = 2
    total_timeout_s: float | None = None

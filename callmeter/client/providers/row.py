"""What is said of a provider: one row a provider, and everything it needs to be called is in it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import force_setattr


class Variable(Struct, frozen=True):
    """Something an address or a credential takes beside the key: a region, a project, an API version."""

    env: tuple[str, ...] = ()
    """Environment variables that may hold it, best first."""
    keywords: tuple[str, ...] = ()
    """Arguments of `completion()` that set it; they win over the environment."""
    default: str = ""
    secret: bool = False
    """Whether it is a credential, or says whose: never shown, and not part of an address."""
    elsewhere: Callable[[Mapping[str, Any]], str] | None = None
    """Where it is looked for at last, given what is known of the others: a cloud's own configuration."""
    is_origin: bool = False
    """Whether it is where an address begins, written with its scheme or as a bare host."""


RESPONSES = "responses/"
"""Before a model's name: call it over the Responses API, `openai/responses/gpt-5`."""

RESPONSES_ONLY = (
    *((name, "openai_responses") for name in ("o1-pro", "o3-pro", "gpt-5-pro", "gpt-5.2-pro", "gpt-5-codex")),
    *((name, "openai_responses") for name in ("gpt-5.1-codex", "gpt-5.2-codex", "codex-mini", "computer-use-preview")),
    *((name, "openai_responses") for name in ("o3-deep-research", "o4-mini-deep-research")),
    (RESPONSES, "openai_responses"),
)
"""Models that OpenAI serves over the Responses API alone. Source: https://platform.openai.com/docs/models"""


OPENAI_TEXT = "openai_text"
"""The wire of text completions, for chat too where a model only completes."""

TEXT_ONLY = (
    *((name, OPENAI_TEXT) for name in ("gpt-3.5-turbo-instruct", "davinci-002", "babbage-002")),
    *((name, OPENAI_TEXT) for name in ("ft:davinci-002", "ft:babbage-002")),
)
"""Models that OpenAI serves as text completions alone. Source: as above."""

CHATTED = frozenset({"chat", "text_completion"})
"""Operations that every provider of chat offers: a text can be completed by chat."""


OPENAI_CHAT = "openai_chat"
"""The wire that most providers speak."""

FAMILIES: Mapping[str, str] = {OPENAI_CHAT: "openai", "azure": "openai", "azure_ai": "openai"}
"""Chat wires whose operations beyond chat are named after another family than the wire itself."""


def codec_of(chat_wire: str, operation: str) -> str:
    """The codec that speaks an operation where chat is spoken in `chat_wire`: `openai_embedding`, `cohere_rerank`."""
    return chat_wire if operation in CHATTED else f"{FAMILIES.get(chat_wire, chat_wire)}_{operation}"


class Named(NamedTuple):
    """What a model's name says."""

    codec: str
    model: str
    """The model as its wire has it."""
    variables: Mapping[str, str] = {}
    """Variables that the name sets; arguments win over it, and it over the environment."""
    base_model: str = ""
    """The model whose price holds, where the name alone does not tell."""


class Provider(Struct, frozen=True):
    """A provider's name, wire format, address and where its key is found."""

    name: str
    display: str = ""
    """How the provider writes its name; empty: as `name`."""
    codec: str = OPENAI_CHAT
    """The wire of chat: a module of `callmeter.client.codecs`."""
    base_url: str = ""
    """Without the endpoint's own path. `{name}` is filled from `variables`; empty: every caller has their own."""
    places: Mapping[str, str] = {}
    """Other addresses, by the `location` or `region` they serve."""
    hosts: tuple[str, ...] = ()
    """More hosts of its own, as `base_url` is written: for other protocols, for private networks."""
    wires: Mapping[str, str] = {}
    """Other wires of chat, by the beginning of the model's name."""
    key_env: tuple[str, ...] = ()
    """Environment variables that may hold the key, best first."""
    base_env: tuple[str, ...] = ()
    """Environment variables that may hold another address."""
    base_keywords: tuple[str, ...] = ()
    """Arguments of `completion()` that may, beside `api_base`."""
    reads: Callable[[str], Named] | None = None
    """Takes a model's name apart, where it says more than the model."""
    needs_key: bool = True
    aliases: tuple[str, ...] = ()
    docs: str = ""
    serves: tuple[str, ...] = ("chat",)
    """Operations it offers: `chat`, `embedding`, `image_generation`, `responses`, `rerank`, …"""
    endpoints: Mapping[str, str] = {}
    """Codecs of operations other than chat, by operation, where they are not as `codec_of` names them."""
    variables: Mapping[str, Variable] = {}
    headers: Mapping[str, str] = {}
    """Sent with every request; a value `$NAME` is that environment variable's, left out where it is not set."""
    signer: str = ""
    """Module of `callmeter.client.credentials` for credentials that are fetched or computed."""
    exchanges_key: bool = False
    """Whether the key is never sent to the model: `signer` has it, and exchanges it for a token."""
    quirks: Mapping[str, Any] = {}
    """Deviations from the wire format, by the codec's names for them."""
    verified: str = "documentation"
    """What the row was checked against.

    `server` (the real one, which runs in our tests), `sdk` (the official SDK), `recorded` (a real answer),
    `documentation`.
    """
    environment: tuple[str, ...] = ()
    """Every environment variable that has a say; follows from the above."""
    keywords: tuple[str, ...] = ()
    """Every argument of `completion()` that does; follows from the above."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The variables that are credentials."""
        return tuple(name for name, variable in self.variables.items() if variable.secret)

    def wire_of(self, model: str, operation: str = "chat") -> Named:
        """The wire that a model is spoken to in for an operation, its name there, and what else the name says."""
        said = Named(self.codec, model) if self.reads is None else self.reads(model)
        name = said.model.lower()
        codec = next((wire for start, wire in self.wires.items() if name.startswith(start)), said.codec)
        if operation not in CHATTED:
            codec = self.endpoints.get(operation) or codec_of(self.codec, operation)
        elif operation == "text_completion" and self._completes_text:
            codec = OPENAI_TEXT
        responses = operation == "responses" or codec == "openai_responses"
        return said._replace(codec=codec, model=said.model.removeprefix(RESPONSES) if responses else said.model)

    @property
    def _completes_text(self) -> bool:
        """Whether text completions are offered of every model, and not only of those that `wires` names."""
        return "text_completion" in self.serves and OPENAI_TEXT not in self.wires.values()

    def __post_init__(self) -> None:
        variables = self.variables.values()
        named = (name for variable in variables for name in variable.env)
        headers = (value[1:] for value in self.headers.values() if value.startswith("$"))
        force_setattr(self, "environment", tuple(dict.fromkeys((*self.key_env, *self.base_env, *named, *headers))))
        force_setattr(
            self, "keywords", (*self.base_keywords, *(k for variable in variables for k in variable.keywords))
        )

"""Who can be called: one `Provider(...)` row each. A provider with a known wire format needs nothing else."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Provider(Struct, frozen=True):
    """A provider's name, wire format, address and where its key is found."""

    name: str
    codec: str
    base_url: str
    key_env: tuple[str, ...] = ()
    """Environment variables that may hold the key, best first."""
    base_env: tuple[str, ...] = ()
    """Environment variables that may hold another address."""
    needs_key: bool = True
    aliases: tuple[str, ...] = ()
    docs: str = ""
    quirks: Mapping[str, Any] = {}
    """Deviations from the wire format, by the codec's names for them."""


PROVIDERS = (
    Provider(
        "openai",
        codec="openai_chat",
        base_url="https://api.openai.com/v1",
        key_env=("OPENAI_API_KEY",),
        base_env=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        aliases=("custom_openai",),
        docs="https://platform.openai.com/docs/api-reference/chat",
    ),
    Provider(
        "anthropic",
        codec="anthropic",
        base_url="https://api.anthropic.com",
        key_env=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        base_env=("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"),
        docs="https://docs.anthropic.com/en/api/messages",
    ),
    Provider(
        "ollama",
        codec="ollama",
        base_url="http://localhost:11434",
        key_env=("OLLAMA_API_KEY",),
        base_env=("OLLAMA_API_BASE", "OLLAMA_HOST"),
        needs_key=False,
        aliases=("ollama_chat",),
        docs="https://docs.ollama.com/api",
    ),
)

BY_NAME: Mapping[str, Provider] = {name: row for row in PROVIDERS for name in (row.name, *row.aliases)}

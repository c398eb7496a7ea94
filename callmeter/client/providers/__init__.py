"""Who can be called: one `Provider(...)` row each. A provider with a known wire format needs nothing else.

`wires` has those with a wire or credentials of their own, `shaped` those that speak OpenAI's chat format with an
accent, `plain` those that speak it as it is, `local` the servers that people run themselves.
"""

from collections.abc import Mapping

from callmeter.client.providers import local, plain, shaped, wires
from callmeter.client.providers.row import CHATTED, OPENAI_CHAT, OPENAI_TEXT, Provider, Variable, codec_of

__all__ = [
    "BY_NAME",
    "CHATTED",
    "KEYWORDS",
    "OPENAI_CHAT",
    "OPENAI_TEXT",
    "PROVIDERS",
    "Provider",
    "Variable",
    "codec_of",
]

PROVIDERS = tuple(sorted((*wires.ROWS, *shaped.ROWS, *plain.ROWS, *local.ROWS), key=lambda row: row.name))

BY_NAME: Mapping[str, Provider] = {name: row for row in PROVIDERS for name in (row.name, *row.aliases)}

KEYWORDS = frozenset(keyword for row in PROVIDERS for keyword in row.keywords)
"""Arguments of `completion()` that say where and as whom to call; never part of a body."""

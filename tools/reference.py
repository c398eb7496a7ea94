"""Writes the pages of `docs/` that are derived from the code: `python tools/reference.py`; `--check` only compares."""

import sys
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

from msgspec import Meta

from callmeter.client import codecs
from callmeter.client.providers import PROVIDERS, Provider
from callmeter.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"

SETTINGS_HEAD = """# Settings

Each is a keyword of `callmeter.configure(…)`, a line of `config.toml` in the home (or of the file that
`CALLMETER_CONFIG` names), and an environment variable. A keyword wins over the environment, that over the file. A name
or value that cannot be is refused with the nearest one that can.

| setting | environment | default | what it does |
|---|---|---|---|
"""


def settings_page() -> str:
    """`docs/settings.md`, from the settings' own types and sentences."""
    hints = get_type_hints(Settings, include_extras=True)
    defaults = dict(zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True))
    rows = []
    for name, hint in hints.items():
        _, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        text = next(note.description for note in notes if isinstance(note, Meta) and note.description)
        default = defaults[name]
        shown = f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else ""
        rows.append(f"| `{name}` | `CALLMETER_{name.upper()}` | {shown} | {text} |\n")
    return SETTINGS_HEAD + "".join(rows)


PROVIDERS_HEAD = """# Providers

`callmeter.completion("provider/model", …)` calls any of these; `callmeter providers` lists them in the terminal. The
key is looked for in the variables named, best first; `api_key=` and `api_base=` win over all of them. *Checked against*
says how far a row was verified: the real server, running in our tests; the provider's own SDK against our decoding of
the same bytes; a recorded answer; or the provider's documentation alone.

| provider | also | wire | key | address | serves | checked against |
|---|---|---|---|---|---|---|
"""

WIRES_HEAD = """
## Wires of chat

How each wire was verified, as far as it was. *Golden cases* are requests and answers in bytes, decoded whole and cut at
every byte. Nothing here was tried against a paid service; a case that was not recorded was written after the
documentation or the types of the SDK that is named.

| wire | golden cases | held against |
|---|---|---|
"""

HELD_AGAINST = {
    "anthropic": "the `anthropic` package",
    "anthropic_bedrock": "the `anthropic` package's client for Bedrock, and `boto3`",
    "anthropic_vertex": "the `anthropic` package's client for Vertex AI",
    "azure": "the `openai` package's client for Azure",
    "azure_ai": "documentation alone, beyond what it shares with `azure`",
    "azure_anthropic": "documentation alone, beyond what it shares with `anthropic`",
    "bedrock": "the `boto3` package",
    "cohere": "the `cohere` package",
    "gemini": "the `google-genai` package",
    "gigachat": "the `gigachat` package; its sign-in by documentation",
    "langgraph": "answers recorded from `langgraph-api` 0.16.7; tools and usage of several models by its types",
    "nlp_cloud": "documentation alone, and the request by the `nlpcloud` package's source",
    "ollama": "the `ollama` package",
    "openai_chat": "the `openai` and `mistralai` packages; streams that others recorded at OpenRouter and Together",
    "openai_responses": "the `openai` package",
    "openai_text": "the `openai` package",
    "replicate": "the `replicate` package; errors by recorded texts",
    "sagemaker": "the `boto3` package; what a container answers, by documentation",
    "sap": "documentation alone",
    "triton": "documentation alone",
    "watsonx": "documentation and the types of `ibm-watsonx-ai` 1.8.1; a recorded error",
}
"""What each wire was held against, in words. A wire that is missing here fails the page."""

PROVIDERS_FOOT = """
## Signing in

Amazon's signatures are compared with those of `botocore`. Tokens of Google, Azure, IBM, Databricks, GigaChat and SAP
are tried against doubles of their token services. Oracle's signatures are verified with the public key, and came out
the same as those of the `oci` package 2.189.0.

Not callable yet: Black Forest Labs, fal, Runway and Stability AI, which make images alone.
"""


def providers_page() -> str:
    """`docs/providers.md`, from the rows themselves."""
    spoken = {wire for row in PROVIDERS if "chat" in row.serves for wire in (row.codec, *row.wires.values())}
    wires = "".join(_wire_line(wire) for wire in sorted(spoken | HELD_AGAINST.keys()) if codecs.exists(wire))
    return PROVIDERS_HEAD + "".join(_provider_line(row) for row in PROVIDERS) + WIRES_HEAD + wires + PROVIDERS_FOOT


def _wire_line(wire: str) -> str:
    cases = len(list((GOLDEN / wire).glob("*/call.json")))
    return f"| `{wire}` | {cases or 'those of the wire it extends'} | {HELD_AGAINST[wire]} |\n"


def _provider_line(row: Provider) -> str:
    name = f"[{row.display or row.name}]({row.docs})" if row.docs else row.display or row.name
    keys = ", ".join(f"`{key}`" for key in row.key_env) or "none"
    address = f"`{row.base_url}`" if row.base_url else f"your own: {', '.join(f'`{place}`' for place in row.base_env)}"
    cells = (
        f"`{row.name}` {name}",
        ", ".join(f"`{alias}`" for alias in row.aliases),
        f"`{row.codec}`",
        keys if row.needs_key else f"not needed ({keys})",
        address,
        ", ".join(row.serves),
        row.verified if codecs.exists(row.codec) else "not callable yet",
    )
    return f"| {' | '.join(cells)} |\n"


PAGES = {"settings.md": settings_page, "providers.md": providers_page}


def main(arguments: list[str]) -> int:
    """Write or compare every page; 1 where one differs."""
    stale = [name for name, page in PAGES.items() if not (DOCS / name).exists() or (DOCS / name).read_text() != page()]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is not what the code says; run python tools/reference.py", file=sys.stderr)
        return int(bool(stale))
    for name in stale:
        (DOCS / name).write_text(PAGES[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

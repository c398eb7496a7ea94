"""Three small collections of invented prices, in the forms the build reads."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from callmeter.pricing.build.run import Inputs

AS_OF = date(2026, 11, 25)

Entry = dict[str, Any]


def models_dev(*models: tuple[str, str, Entry]) -> str:
    """A catalogue of (provider, model, entry); it ends with the day of its snapshot, as the real one does."""
    providers: dict[str, Any] = {}
    for provider, model, entry in models:
        providers.setdefault(provider, {"models": {}})["models"][model] = entry
    return json.dumps({"providers": providers, "source": "an invented snapshot of 2026-07-02"})


def cost(**prices: Any) -> Entry:
    return {"cost": prices}


def litellm(**entries: Entry) -> str:
    """A price map; a key's `__` stands for `/`."""
    return json.dumps({key.replace("__", "/"): entry for key, entry in entries.items()})


def genai(*providers: str) -> str:
    """The module with the data: `provider(...)` of `model(...)`."""
    return f"from .types import *\n\nproviders: list[Provider] = [{', '.join(providers)}]\n"


def provider(name: str, *models: str, comments: str = "") -> str:
    return f"Provider(id={name!r}, name={name!r}, pricing_urls=[], price_comments={comments!r}, models=[{', '.join(models)}])"


def model(name: str, prices: str, match: str = "", variants: str = "[]", comments: str = "") -> str:
    clause = match or f"ClauseEquals(equals={name!r})"
    return (
        f"ModelInfo(id={name!r}, match={clause}, price_comments={comments!r}, "
        f"prices={prices}, price_variants={variants})"
    )


def prices(**keys: str) -> str:
    return f"ModelPrice({', '.join(f'{key}=Decimal({value!r})' for key, value in keys.items())})"


def write(
    folder: Path,
    *,
    catalogue: str = "",
    price_map: str = "{}",
    module: str = "",
    decisions: str = "",
    as_of: date = AS_OF,
) -> Inputs:
    """The collections as files, and what the build is told of them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "models_dev.json": catalogue or models_dev(),
        "litellm.json": price_map,
        "data.py": module or genai(),
        "overrides.toml": decisions,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return Inputs(
        models_dev=folder / "models_dev.json",
        litellm=folder / "litellm.json",
        genai_prices=folder / "data.py",
        overrides=folder / "overrides.toml",
        as_of=as_of,
    )

"""Tokenizers that are at hand on this machine, found and never downloaded."""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from callmeter.errors import BadRequestError, MissingExtraError
from callmeter.pricing.book import PriceBook

Method = Literal["tiktoken", "huggingface", "custom", "estimate"]
"""How tokens were counted. Only the first three use the model's vocabulary."""

ENCODINGS: dict[str, str] = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "p50k_base": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "r50k_base": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
}
"""SHA-256 of each encoding's file. tiktoken fetches one that is missing or damaged, so both are found out first.

Source: https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py
"""

_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
"""What tiktoken's cache names a file by; we only ever look for it on disk."""


class Tokenizer(Struct, frozen=True):
    """A vocabulary: `encode` and `decode` as its library has them, and which library that is."""

    method: Method
    inner: Any

    def encode(self, text: str) -> list[int]:
        """The text's tokens. Text that looks like a special token is text."""
        if self.method == "tiktoken":
            return list(self.inner.encode_ordinary(text))
        found = self.inner.encode(text)
        return list(getattr(found, "ids", found))

    def decode(self, tokens: Sequence[int]) -> str:
        """The tokens' text."""
        return str(self.inner.decode(list(tokens)))


def tokenizer_of(model: str, book: PriceBook) -> Tokenizer | None:
    """The model's tokenizer, if the table names it or it is a Hugging Face model, and its files are here."""
    named = _named(model, book)
    return _tiktoken(named) if named in ENCODINGS else _huggingface(named or _repository(model))


def needed(model: str, book: PriceBook) -> Tokenizer:
    """`tokenizer_of`. Where that is None, `MissingExtraError` or `BadRequestError` says what to install or to fetch."""
    found = tokenizer_of(model, book)
    if found is not None:
        return found
    named = _named(model, book)
    library = "tiktoken" if named in ENCODINGS else "tokenizers" if named or _repository(model) else ""
    if not library:
        raise BadRequestError(f"no tokenizer is known for {model!r}; pass custom_tokenizer=…", model=model)
    if not _installed(library):
        extra = "'callmeter[tokens]'" if library == "tiktoken" else library
        raise MissingExtraError(f"the tokens of {model!r} need {library}: pip install {extra}")
    if library == "tiktoken":
        raise BadRequestError(
            f"the file of {named} is not in {_tiktoken_cache()}, and callmeter downloads none during a call; fetch it "
            f"once with python -c \"import tiktoken; tiktoken.get_encoding('{named}')\"",
            model=model,
        )
    raise BadRequestError(
        f"tokenizer.json of {named or _repository(model)} is not in {_hub_cache()}, and callmeter downloads none "
        "during a call; fetch it once, or pass custom_tokenizer=create_pretrained_tokenizer(…)",
        model=model,
    )


def custom(given: Any) -> Tokenizer:
    """A caller's own: what `create_tokenizer` returns, or any object with `encode` and `decode`.

    Raises `BadRequestError` for anything else.
    """
    inner = given.get("tokenizer") if isinstance(given, Mapping) else given
    if not all(callable(getattr(inner, name, None)) for name in ("encode", "decode")):
        raise BadRequestError(f"custom_tokenizer is {given!r:.80}; pass what create_tokenizer returns")
    return Tokenizer("tiktoken" if hasattr(inner, "encode_ordinary") else "custom", inner)


def create_tokenizer(json: str) -> dict[str, Any]:
    """A `custom_tokenizer` from the text of a `tokenizer.json`. Raises `MissingExtraError` without `tokenizers`."""
    return {"type": "huggingface_tokenizer", "tokenizer": _library().from_str(json)}


def create_pretrained_tokenizer(
    identifier: str, revision: str = "main", auth_token: str | None = None
) -> dict[str, Any]:
    """A `custom_tokenizer` of a Hugging Face repository, which is downloaded if it is not cached: you ask for that.

    Raises `MissingExtraError` without `tokenizers`.
    """
    made = _library().from_pretrained(identifier, revision=revision, token=auth_token)
    return {"type": "huggingface_tokenizer", "tokenizer": made}


def _library() -> Any:
    try:
        from tokenizers import Tokenizer as library
    except ImportError:
        raise MissingExtraError("a Hugging Face tokenizer needs tokenizers: pip install tokenizers") from None
    return library


def _installed(library: str) -> bool:
    from importlib.util import find_spec

    return find_spec(library) is not None


def _named(model: str, book: PriceBook) -> str:
    """The tokenizer that the table names, by encoding or by repository."""
    known = book.model(model)
    return known.tokenizer if known is not None else ""


def _repository(model: str) -> str:
    """`org/name` of a model that is called by its Hugging Face repository, whatever provider is before it."""
    parts = model.split("/")
    return "/".join(parts[-2:]) if len(parts) > 1 else ""


# --- tiktoken


def _tiktoken_cache() -> Path:
    # As tiktoken looks for it.
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if name in os.environ:
            return Path(os.environ[name])
    return Path(tempfile.gettempdir(), "data-gym-cache")


def _tiktoken(encoding: str) -> Tokenizer | None:
    cache = _tiktoken_cache()
    # An empty name turns tiktoken's cache off, and downloading on.
    if not os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", "on")):
        return None
    path = cache / hashlib.sha1(_ADDRESS.format(encoding).encode(), usedforsecurity=False).hexdigest()
    return _load_tiktoken(encoding, str(path)) if path.is_file() and _installed("tiktoken") else None


@lru_cache(64)
def _load_tiktoken(encoding: str, path: str) -> Tokenizer | None:
    if hashlib.sha256(Path(path).read_bytes()).hexdigest() != ENCODINGS[encoding]:
        return None
    import tiktoken

    return Tokenizer("tiktoken", tiktoken.get_encoding(encoding))


# --- Hugging Face


def _hub_cache() -> Path:
    """Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache"""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name])
    home = os.environ.get("HF_HOME")
    base = Path(home) if home else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface")
    return base / "hub"


def _huggingface(repository: str) -> Tokenizer | None:
    if not repository:
        return None
    kept = _hub_cache() / f"models--{repository.replace('/', '--')}"
    main = kept / "refs" / "main"
    if not main.is_file():
        return None
    path = kept / "snapshots" / main.read_text(encoding="utf-8").strip() / "tokenizer.json"
    return _load_huggingface(str(path)) if path.is_file() and _installed("tokenizers") else None


@lru_cache(16)
def _load_huggingface(path: str) -> Tokenizer:
    return Tokenizer("huggingface", _library().from_file(path))

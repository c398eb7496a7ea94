"""Credentials that are more than a key in a header: one module a cloud, each with `signer(variables)`.

The clouds' own libraries do the work; they are extras, imported when the first call to that cloud is made.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

from callmeter.wire import Signer


def signer_for(module: str, variables: Mapping[str, Any]) -> Signer:
    """The signer for these variables. Calls that share them share its tokens."""
    return _signer(module, tuple(sorted(variables.items())))


@lru_cache(maxsize=256)
def _signer(module: str, variables: tuple[tuple[str, Any], ...]) -> Signer:
    made: Signer = import_module(f"{__name__}.{module}").signer(dict(variables))
    return made

"""One wire format a module, pure: values in, values out. `load(name)` finds one by its module name."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec

from callmeter.client.codecs.base import Codec
from callmeter.errors import BadRequestError


@cache
def load(name: str) -> Codec:
    """The codec of the module `callmeter.client.codecs.<name>`, loaded on first use.

    Raises `BadRequestError` for a wire that this version does not speak.
    """
    if not exists(name):
        raise BadRequestError(f"this version of callmeter does not speak the wire {name!r} yet; see docs/providers.md")
    codec: Codec = import_module(f"{__name__}.{name}").CODEC
    return codec


def exists(name: str) -> bool:
    """Whether there is a codec of this name."""
    return find_spec(f"{__name__}.{name}") is not None

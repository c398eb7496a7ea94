"""One wire format a module, pure: values in, values out. `load(name)` finds one by its module name."""

from functools import cache
from importlib import import_module

from callmeter.client.codecs.base import Codec


@cache
def load(name: str) -> Codec:
    """The codec of the module `callmeter.client.codecs.<name>`, loaded on first use."""
    codec: Codec = import_module(f"{__name__}.{name}").CODEC
    return codec

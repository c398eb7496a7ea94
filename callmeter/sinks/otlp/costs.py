"""A cost by side, for backends that show what the input and what the output cost. Pure."""

from decimal import Decimal

from callmeter.events.spans import by_line
from callmeter.types import Cost

INPUT = frozenset("input cache_read cache_write_5m cache_write_1h audio_in cache_read_audio image_in video_in".split())
OUTPUT = frozenset("output reasoning audio_out image_out".split())


def sides(cost: Cost) -> tuple[Decimal, Decimal]:
    """USD of the input's lines and of the output's. What is charged beside tokens is in neither, only in the total."""
    lines = by_line(cost)
    given = sum((usd for line, usd in lines.items() if line in INPUT), Decimal(0))
    made = sum((usd for line, usd in lines.items() if line in OUTPUT), Decimal(0))
    return given, made

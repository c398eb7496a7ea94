"""Named places where a test may make something go wrong. Without a handler they do nothing."""

from collections.abc import Callable

POINTS: dict[str, str] = {}
"""Every fault point by name, with the sentence that says what has and has not happened there."""

handler: Callable[[str], None] | None = None
"""Called with the name of each point that is passed; set by tests only."""


def point(name: str, meaning: str) -> Callable[[], None]:
    """Declare a fault point; the function returned marks the place."""
    POINTS[name] = meaning

    def passed() -> None:
        if handler is not None:
            handler(name)

    return passed

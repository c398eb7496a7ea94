"""Which of a day's small files become one (pure)."""

from collections import defaultdict
from collections.abc import Sequence

from callmeter.events.journal_schema import LedgerFile
from callmeter.events.rows import CONTENT

MAX_FILES = 8
"""A day may have so many small files of a table before some are merged."""

MAX_ROWS = 1_000_000
"""A merged file has at most so many rows; one with half of that is left alone."""

MAX_CONTENT_ROWS = 1_000
"""The same for prompts and answers, which may be a thousand times as large in memory as in their file."""

GROWTH = 2
"""The next larger file joins if it is at most so many times as large as those before it together: so a row is written
anew only when its file at least grows by half, and a day's rows not each time a minute's worth arrives."""


def to_merge(files: Sequence[LedgerFile]) -> list[list[LedgerFile]]:
    """Groups of at least two files of one day and table, each of which should become one."""
    small: dict[tuple[str, str], list[LedgerFile]] = defaultdict(list)
    for file in files:
        if file.rows <= most_rows(file.kind) // 2:
            small[file.day, file.kind].append(file)
    groups = (_smallest(found) for found in small.values() if len(found) > MAX_FILES)
    return [group for group in groups if len(group) > 1]


def most_rows(kind: str) -> int:
    """How many rows a merged file of a table may have."""
    return MAX_CONTENT_ROWS if kind == CONTENT.name else MAX_ROWS


def _smallest(files: Sequence[LedgerFile]) -> list[LedgerFile]:
    group: list[LedgerFile] = []
    rows = 0
    for file in sorted(files, key=lambda file: file.rows):
        if rows and (file.rows > GROWTH * rows or rows + file.rows > most_rows(file.kind)):
            break
        group.append(file)
        rows += file.rows
    return group

"""From a model's name to its place in a table: exact look-ups of a few pure rewrites, never a guess.

A name that merely begins like a known one is unknown: `gpt-4o-2024-05-13` is not `gpt-4o`, and costs more.
"""

from collections.abc import Iterator

from callmeter.pricing.table import Table


def canonical(name: str) -> str:
    """One form for the spellings that mean one model.

    Case and outer blanks do not matter; `@20250929`, `-20250929` and `-2025-09-29` are one date; `4.5` and `4-5` are
    one version. The build fails where two models of a provider would share a form.
    """
    name = name.strip().casefold().replace("@", "-")
    if "." in name:
        name = _versions_dashed(name)
    date = name[-10:]
    if date[4:5] == date[7:8] == "-" and _is_date(date.replace("-", "")):
        name = name[:-10] + date.replace("-", "")
    return name


def spellings(name: str, table: Table) -> Iterator[str]:
    """Canonical forms to look up for a name, in order: as it is, without the provider's prefix, a fine-tune's base."""
    form = canonical(name)
    yield form
    for prefix in table.prefixes:
        if form.startswith(prefix) and len(form) > len(prefix):
            form = form[len(prefix) :]
            yield form
            break
    if form.startswith("ft:"):
        # ft:<base>:<organisation>:<name>:<id> has the fine-tuned price of its base, never the base's own.
        base = form[3:].partition(":")[0]
        yield f"ft:{canonical(base)}"


def undated(form: str) -> str | None:
    """A canonical name without its date; None where it ends in none."""
    head, dash, date = form.rpartition("-")
    return head if dash and head and _is_date(date) else None


def find(name: str, table: Table) -> tuple[int | None, list[str]]:
    """The position of the named model, or None; and the forms that were tried."""
    tried = []
    for form in spellings(name, table):
        tried.append(form)
        if form in table.names:
            return table.names[form], tried
    bare = undated(tried[-1])
    if bare is not None:
        tried.append(bare)
        position = table.names.get(bare)
        if position is not None and table.models[position].same_when_dated:
            return position, tried
    return None, tried


def _versions_dashed(name: str) -> str:
    pieces = name.split(".")
    joined = pieces[0]
    for piece in pieces[1:]:
        between_digits = joined[-1:].isdecimal() and piece[:1].isdecimal()
        joined += ("-" if between_digits else ".") + piece
    return joined


def _is_date(text: str) -> bool:
    return len(text) == 8 and text.isascii() and text.isdecimal() and "1990" <= text[:4] <= "2099"

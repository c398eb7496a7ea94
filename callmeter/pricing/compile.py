"""`data/*.toml` to `compiled/*.json`: what people review becomes what ships.

python -m callmeter.pricing.compile            writes the compiled tables
python -m callmeter.pricing.compile --check    exits 1 where they are not up to date
"""

import sys
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from callmeter.errors import ConfigError
from callmeter.pricing import authored
from callmeter.pricing.document import encoded, hashed, index_of
from callmeter.pricing.match import canonical
from callmeter.pricing.sources import listed, newest
from callmeter.pricing.table import Model, Table

HERE = Path(__file__).parent
_SOURCE_KEYS = {"id", "kind", "url", "checked", "note", "licence"}


def table(document: Mapping[str, Any], where: str) -> Table:
    """A provider's document as its table, with its hash.

    Raises `ConfigError` naming the file for whatever `authored.model` refuses, for two models that share a name, and
    for a rate whose source is not listed.
    """
    provider = document.get("provider", {})
    sources = {source["id"] for source in document.get("source", ())}
    for source in document.get("source", ()):
        if unknown := source.keys() - _SOURCE_KEYS:
            raise ConfigError(f"{where}: source {source['id']!r} has unknown keys {sorted(unknown)}")
    names: dict[str, int] = {}
    models: list[Model] = []
    for position, entry in enumerate(document.get("model", ())):
        made = authored.model(entry)
        for rate in made.rates:
            if rate.source not in sources:
                raise ConfigError(f"{where}: {made.id} has src = {rate.source!r}; list it as a [[source]]")
        for name in (made.id, *entry.get("aliases", ())):
            form = canonical(name)
            if form in names:
                other = models[names[form]].id if names[form] < position else made.id
                raise ConfigError(f"{where}: {name!r} of {made.id} is a name of {other} too; take one away")
            names[form] = position
        models.append(made)
    built = Table(
        provider=provider["id"],
        prefixes=tuple(prefix.casefold() for prefix in provider.get("prefixes", ())),
        tiers=dict(provider.get("tiers", {})),
        free=provider.get("free", False),
        elsewhere=provider.get("elsewhere", "").casefold(),
        makes=tuple(provider.get("makes", ())),
        unpriced_suffixes=tuple(provider.get("unpriced_suffixes", ())),
        names=names,
        models=tuple(models),
    )
    return hashed(built)


def compiled(data: Path = HERE / "data") -> dict[str, bytes]:
    """Every file of `compiled/` by name, from the TOML in a directory. Raises `ConfigError` for what is wrong there."""
    providers: dict[str, str] = {}
    hosts: dict[str, str] = {}
    days: list[date] = []
    tables: list[Table] = []
    for path in sorted(data.glob("*.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        made = table(document, path.name)
        about = document["provider"]
        for name in (made.provider, *about.get("aliases", ())):
            _unique(providers, name, made.provider, path.name)
        for host in about.get("hosts", ()):
            _unique(hosts, host, made.provider, path.name)
        days += filter(None, [newest(listed(document))])
        tables.append(made)
    # The day on which a source was last read, so that the same data always have the same version.
    version = int(f"{max(days):%Y%m%d}00") if days else 0
    built = {f"{made.provider}.json": encoded(made) for made in tables}
    return {**built, "index.json": encoded(index_of(tables, providers, hosts, version))}


def main(arguments: list[str]) -> int:
    """The command. Returns its exit code: 0 done or up to date, 1 out of date, 2 a mistake in the data."""
    target = HERE / "compiled"
    try:
        files = compiled()
    except (ConfigError, tomllib.TOMLDecodeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    present = {path.name: path.read_bytes() for path in target.glob("*.json")}
    stale = sorted(name for name in files.keys() | present.keys() if files.get(name) != present.get(name))
    if "--check" in arguments:
        for name in stale:
            print(f"compiled/{name} differs from data/; run python -m callmeter.pricing.compile", file=sys.stderr)
        return 1 if stale else 0
    target.mkdir(exist_ok=True)
    for name in stale:
        if name in files:
            (target / name).write_bytes(files[name])
        else:
            (target / name).unlink()
        print(f"compiled/{name}")
    return 0


def _unique(names: dict[str, str], name: str, provider: str, where: str) -> None:
    rival = names.setdefault(name.casefold(), provider)
    if rival != provider:
        raise ConfigError(f"{where}: {name!r} already belongs to {rival}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

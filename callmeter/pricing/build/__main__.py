"""The command: reads the collections and writes `data/*.toml` and `data/CONFLICTS.md`.

python -m callmeter.pricing.build --models-dev FILE (--venv DIR | --litellm FILE --genai-prices FILE) [--as-of DATE]

`--venv` finds the packages `litellm` and `genai-prices` in a virtual environment of their own. `--check` writes
nothing and says whether the files are up to date. `--fresh` forgets the generated part of the files there are: their
past prices come from earlier builds and are lost with it. Exit codes: 0 done or up to date, 1 out of date, or there is
something to decide, 2 a mistake in what was read.
"""

import argparse
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from callmeter.errors import ConfigError
from callmeter.pricing.build.run import DATA, Inputs, build


def main(arguments: list[str]) -> int:
    """Runs the build. Returns its exit code."""
    options = _options(arguments)
    try:
        inputs = Inputs(
            models_dev=options.models_dev,
            litellm=options.litellm or _in(options.venv, "litellm/model_prices_and_context_window_backup.json"),
            genai_prices=options.genai_prices or _in(options.venv, "genai_prices/data.py"),
            as_of=options.as_of or datetime.now(UTC).date(),
        )
        result = build(inputs, options.data, fresh=options.fresh)
    except (ConfigError, OSError, ValueError, KeyError) as error:
        print(error, file=sys.stderr)
        return 2
    for suspect in result.open:
        print(f"undecided: {suspect.kind}: {suspect.provider}/{suspect.model}: {suspect.detail}", file=sys.stderr)
    for decision in result.idle:
        print(f"no longer of use: {decision.kind} of {decision.provider}/{decision.model}", file=sys.stderr)
    if result.open:
        print(f"{len(result.open)} to decide in pricing/build/overrides.toml; nothing was written", file=sys.stderr)
        return 1
    stale = [name for name, text in sorted(result.files.items()) if _read(options.data / name) != text]
    if options.check:
        print("\n".join(f"{name} is out of date" for name in stale), end="\n" if stale else "")
        return 1 if stale else 0
    for name in stale:
        (options.data / name).write_text(result.files[name], encoding="utf-8")
    print(result.summary)
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m callmeter.pricing.build", description="Build the price tables.")
    parser.add_argument("--models-dev", type=Path, required=True, help="models.dev's catalogue as one JSON file")
    parser.add_argument("--litellm", type=Path, help="LiteLLM's price map")
    parser.add_argument("--genai-prices", type=Path, help="the data.py of genai-prices")
    parser.add_argument("--venv", type=Path, help="a virtual environment with litellm and genai-prices")
    parser.add_argument("--data", type=Path, default=DATA, help="where to write")
    parser.add_argument("--as-of", type=date.fromisoformat, help="the day of the build; today")
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier builds wrote")
    return parser.parse_args(arguments)


def _in(venv: Path | None, name: str) -> Path:
    if venv is None:
        raise ConfigError("say where litellm and genai-prices are: --venv, or --litellm and --genai-prices")
    found = sorted(venv.glob(f"lib/python*/site-packages/{name}"))
    if not found:
        raise ConfigError(f"{venv} has no {name}; run its pip install litellm genai-prices")
    return found[-1]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

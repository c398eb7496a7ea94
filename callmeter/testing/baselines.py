"""What tests' calls cost when somebody last looked: a file of JSON beside them, to be reviewed and committed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from callmeter.errors import ConfigError
from callmeter.testing.charges import Charge
from callmeter.testing.recordings import write_json


class _File(Struct):
    callmeter_baseline: int
    tests: dict[str, list[Charge]]


def read(path: Path) -> dict[str, list[Charge]]:
    """The baselines in a file, by test; none where there is no file. Raises `ConfigError` for another kind of file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).tests
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no file of baselines ({error}); delete it and run --callmeter-update") from None


def update(path: Path, changed: Mapping[str, Sequence[Charge]]) -> bool:
    """Put these tests' baselines into a file and keep the others; whether that changed anything."""
    known = read(path)
    tests = known | {name: [replace(charge, at_ns=0) for charge in charges] for name, charges in changed.items()}
    if tests == known:
        return False
    write_json(path, _File(1, dict(sorted(tests.items()))))
    return True

"""The `callmeter` command. Its subcommands are this folder's files: found by name, and imported only to be run.

A command is a docstring, whose first line stands in `callmeter --help`, and one typed function with the file's name
that returns an `ExitCode`. A folder is a command whose subcommands are its files. What begins with an underscore is no
command.
"""

import os
import sys
from collections.abc import Sequence
from enum import IntEnum
from importlib.util import find_spec

from callmeter.errors import APIError, CallmeterError, ConfigError, MissingExtraError, PriceTableError


class ExitCode(IntEnum):
    """What a command tells the shell."""

    OK = 0
    NOTHING = 1
    """Nothing was found, or a check failed."""
    USAGE = 2
    """A wrong argument, setting or environment."""
    BROKEN = 3
    """The home, the journal or the ledger cannot do its part; what could be shown was shown."""
    INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Whatever goes wrong is one sentence on stderr."""
    missing = [name for name in ("typer", "rich") if find_spec(name) is None]
    if missing:
        return _fail(f"the command line needs {' and '.join(missing)}; pip install 'callmeter[cli]'", ExitCode.USAGE)
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments) or ["--help"])
    except BrokenPipeError:
        # The reader has seen enough, which is no error; what is still buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except (ConfigError, MissingExtraError) as error:
        return _fail(str(error), ExitCode.USAGE)
    except PriceTableError as error:
        return _fail(str(error), ExitCode.NOTHING)
    except APIError as error:
        return _fail(f"a call failed: {error}", ExitCode.NOTHING)
    except (CallmeterError, OSError) as error:
        return _fail(str(error), ExitCode.BROKEN)


def _run(arguments: list[str]) -> int:
    from callmeter.cli._group import run
    from callmeter.cli._output import prepare_streams

    prepare_streams()
    code = run(arguments)
    sys.stdout.flush()
    return code


def _fail(sentence: str, code: ExitCode) -> int:
    print(f"callmeter: {sentence}", file=sys.stderr)
    return code

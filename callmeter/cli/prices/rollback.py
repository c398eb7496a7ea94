"""Go back to the price table that was in use before the last `callmeter prices update`; again, and forward to it.

Nothing is fetched. Processes that are started from then on use it; running ones go on with what they have.
"""

from callmeter.cli import ExitCode
from callmeter.cli._home import Home, path_of
from callmeter.pricing.installing import rollback as exchanged
from callmeter.pricing.shelf import FOLDER
from callmeter.pricing.table import load_index


def rollback(home: Home = None) -> ExitCode:
    state = exchanged(path_of(home) / FOLDER)
    was = state.previous.version if state.previous is not None else "the package's"
    shipped = load_index().version
    if state.current is None:
        print(f"table {shipped} of the package is in use again, in place of {was}")
    elif state.current.version <= shipped:
        print(f"table {shipped} of the package is in use: {state.current.version}, which was put back, is not newer")
    else:
        print(f"table {state.current.version} is in use again, in place of {was}")
    return ExitCode.OK

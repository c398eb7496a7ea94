"""Write the ledger to a file of your own: a DuckDB database, Parquet or CSV.

The suffix of PATH decides: `.duckdb` holds every table, `.parquet` and `.csv` hold the calls. The file appears when it
is complete.
"""

from pathlib import Path
from typing import Annotated

import typer

from callmeter.cli import ExitCode
from callmeter.cli._home import Home, exit_code, opened_ledger
from callmeter.cli._output import busy


def export(
    path: Annotated[Path, typer.Argument(help="File to write: spend.duckdb, spend.parquet or spend.csv.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    home: Home = None,
) -> ExitCode:
    from callmeter.sinks.duckdb.export import export as written

    with opened_ledger(home) as ledger, busy(f"writing {path}"):
        count = written(ledger, path, overwrite=force)
        code = exit_code(ledger, found=True)
    print(f"{count} calls written to {path}")
    return code

"""The local ledger: a compactor that turns the journal's rows into Parquet, and DuckDB to query both."""

from importlib.util import find_spec
from typing import Any

from callmeter.errors import MissingExtraError


def require_duckdb() -> None:
    """Raise `MissingExtraError`, naming the extra, where DuckDB is not installed. Does not import it."""
    if find_spec("duckdb") is None:
        raise MissingExtraError("the ledger needs duckdb; pip install 'callmeter[ledger]'")


def import_duckdb() -> Any:
    """DuckDB, or `MissingExtraError` naming the extra that brings it."""
    require_duckdb()
    import duckdb

    return duckdb

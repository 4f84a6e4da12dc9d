"""Runs as a pandas DataFrame, one a row, made of what a listing has of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.documents.model import RunSummary, to_plain
from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.integers import FLOAT_EXACT, INT64_END, is_int64
from intake_bluesky.query import Path
from intake_bluesky.query.paths import MISSING
from intake_bluesky.search.ordering import TIME, as_path, value_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final[Mapping[str, str]] = {
    "time": "start.time",
    "scan_id": "start.scan_id",
    "plan_name": "start.plan_name",
    "exit_status": "stop.exit_status",
    "num_events": "stop.num_events.primary",
}
TEXT: Final = "string[python]"  # Arrow's takes no lone surrogates, which documents may hold
TIMES: Final = (TIME, Path("stop", ("time",)))


def dataframe(runs: Iterable[RunSummary], columns: Sequence[str] | Mapping[str, str] | None = None) -> pd.DataFrame:
    """Make a DataFrame of runs.

    Parameters
    ----------
    runs : iterable of RunSummary
        Gone through once.
    columns : list of keys, or mapping of name to key, optional
        By default `COLUMNS`.

    Examples
    --------
    >>> run = RunSummary.of({"uid": "a", "time": 1.7e9, "scan_id": 5}, None)
    >>> dataframe([run], ["scan_id", "sample.name"])
         scan_id sample.name
    uid
    a          5        None
    """
    import pandas as pd  # late: a catalog that makes no DataFrame needs none

    keys = named(COLUMNS if columns is None else columns)
    values: dict[str, list[Any]] = {name: [] for name in keys}
    uids = []
    for run in runs:
        uids.append(run.uid)
        for name, path in keys.items():
            value = value_of(run, path)
            values[name].append(None if value is MISSING else to_plain(value))
    index = pd.Index(uids, name="uid", dtype=TEXT)
    return pd.DataFrame({name: _series(values[name], path, index) for name, path in keys.items()}, index=index)


def named(columns: Sequence[str] | Mapping[str, str]) -> dict[str, Path]:
    """The keys of columns, by their names."""
    if isinstance(columns, str) or not isinstance(columns, Sequence | Mapping):
        raise UnsupportedQuery(f"columns are a list of keys like ['scan_id', 'stop.exit_status'], not {columns!r}")
    pairs = columns.items() if isinstance(columns, Mapping) else ((key, key) for key in columns)
    return {name: as_path(key) for name, key in pairs}


def _series(values: list[Any], path: Path, index: pd.Index[Any]) -> pd.Series[Any]:
    import pandas as pd

    if path in TIMES:
        # By type: a bool is an int to isinstance, and no time.
        seconds = [value if type(value) in (int, float) and _is_date(value) else None for value in values]
        moments = pd.Series(seconds, index=index, dtype="float64")
        dated: pd.Series[Any] = pd.to_datetime(moments, unit="s", utc=True, errors="coerce").dt.as_unit("ns")
        return dated
    series: pd.Series[Any] = pd.Series(values, index=index, dtype=_dtype(values))
    return series


def _is_date(value: float) -> bool:
    # The nanoseconds of datetime64 are 64 bits.
    return math.isfinite(value) and abs(value) < INT64_END / 1e9


def _dtype(values: list[Any]) -> Any:
    """The narrowest dtype in which every value stays what it is."""
    kinds = {type(value) for value in values} - {type(None)}
    gaps = any(value is None for value in values)
    if kinds == {bool}:
        return "boolean" if gaps else "bool"
    if kinds == {str}:
        return TEXT
    if kinds == {int} and all(value is None or is_int64(value) for value in values):
        return "Int64" if gaps else "int64"
    # A float64 would round larger ints.
    if float in kinds and kinds <= {int, float} and all(type(v) is not int or abs(v) <= FLOAT_EXACT for v in values):
        return "float64"
    return "object"

"""Measured runs beside simulated ones: `compare`, and `BlueskyCatalog.compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.errors import IntakeBlueskyError, UnsupportedOperation

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
    from intake_bluesky.catalogs.stream import BlueskyStream
    from intake_bluesky.datasets.comparison import Pair, Scale

__all__ = ["compare", "compare_catalog"]

HELD: Final = 2**26
"""Bytes of a Dataset up to which it is read whole: a measurement once for all simulations."""
NUMBERS: Final = ("rms", "factor", "offset")


def compare(
    run: BlueskyRun | xr.Dataset,
    simulation: BlueskyRun | xr.Dataset,
    *,
    on: Pair,
    key: Pair | None = None,
    stream: Pair = "primary",
    scale: Scale = True,
) -> xr.Dataset:
    """Show what was measured beside what was simulated, on the measured axis, lazily.

    Parameters
    ----------
    run, simulation : BlueskyRun or xarray.Dataset
        What was measured, and what was simulated. With all runs of a catalog, `BlueskyCatalog.compare` does it.
    on : str or (str, str)
        The axis, such as ``"tth"``: a key of one dimension. A pair names it in the run and in the simulation.
    key : str or (str, str), optional
        What is compared; by default the only key of numbers that both have along the axis.
    stream : str or (str, str)
        In which stream they are; a pair names that of the run and that of the simulation.
    scale : {True, "factor", False}
        Whether a factor and an offset, a factor alone, or nothing is fitted to the simulated values, by least squares.

    Returns
    -------
    xarray.Dataset
        ``measured``, ``simulated`` (interpolated linearly, and scaled) and ``difference``, float64, at the measured
        points within the simulated ones; coordinates ``rms`` (of the difference), ``factor``, ``offset``. Attributes
        ``measured_run`` and ``simulated_run`` are the uids.

    Raises
    ------
    UnsupportedOperation
        When they cannot be compared: no common part of the axes, other units, no such key. Where a fit has nothing to
        go by, such as constant simulated values, when it is computed.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> x = np.linspace(0, 10, 101)
    >>> measured = xr.Dataset({"I": ("x", 3 * np.exp(-((x - 5) ** 2)) + 1)}, {"x": x})
    >>> simulated = xr.Dataset({"I": ("x", np.exp(-((x - 5) ** 2)))}, {"x": x})
    >>> found = compare(measured, simulated, on="x")
    >>> round(found.factor.item(), 6), round(found.offset.item(), 6), found.rms.item() < 1e-12
    (3.0, 1.0, True)
    """
    from intake_bluesky.datasets.comparison import compared, names_of

    streams = names_of(stream, "stream")
    measured, simulated = (_dataset(one, name) for one, name in zip((run, simulation), streams, strict=True))
    found = compared(measured, simulated, on=on, key=key, scale=scale)
    runs = {"measured_run": run, "simulated_run": simulation}
    found.attrs = {name: one.uid for name, one in runs.items() if isinstance(one, BlueskyRun)}
    return found


def _dataset(given: Any, stream: str) -> xr.Dataset:
    import xarray as xr

    if isinstance(given, BlueskyRun):
        return given[stream].to_dask()
    if isinstance(given, xr.Dataset):
        return given
    raise WrongArgument(
        f"what is compared is a run or an xarray.Dataset, not a {type(given).__name__}: of a catalog give one of its "
        "runs, or compare a run with all of them, simulations.compare(run, on=...)"
    )


def compare_catalog(
    self: BlueskyCatalog,
    run: BlueskyRun | xr.Dataset,
    *,
    on: Pair,
    key: Pair | None = None,
    stream: Pair = "primary",
    scale: Scale = True,
) -> pd.DataFrame:
    """Compare a run with each simulation of this catalog: every point of a sweep, the best first.

    Simulations are read one after the other, and of large ones no more than is compared; `intake_bluesky.compare` shows
    one of them.

    Parameters
    ----------
    run : BlueskyRun or xarray.Dataset
        What was measured.
    on, key, stream, scale
        As of `intake_bluesky.compare`.

    Returns
    -------
    pandas.DataFrame
        A row a simulation, by its uid: ``rms``, ``factor``, ``offset``, ``points`` (how many were compared), a column
        ``parameters.<name>`` for each parameter in the start documents. Simulations that cannot be compared come last,
        with the reason in the column ``problem``, which is there if one has a reason.

    Raises
    ------
    UnsupportedOperation
        When none can be compared.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from intake_bluesky import BlueskyCatalog, ingest
    >>> from intake_bluesky.testing import MemoryStore
    >>> x = np.linspace(0, 10, 101)
    >>> cat = BlueskyCatalog(MemoryStore())
    >>> for centre in (4.0, 5.0, 6.0):
    ...     curve = xr.Dataset({"I": ("x", np.exp(-((x - centre) ** 2)))}, {"x": x})
    ...     _ = ingest.write_run(curve, into=cat, parameters={"centre": centre})
    >>> measured = xr.Dataset({"I": ("x", 3 * np.exp(-((x - 5) ** 2)) + 1)}, {"x": x})
    >>> table = cat.compare(measured, on="x")
    >>> float(table.iloc[0]["parameters.centre"]), cat[table.index[0]].start["parameters"]
    (5.0, {'centre': 5.0})
    """
    import pandas as pd

    from intake_bluesky.datasets.comparison import names_of

    measured = _dataset(run, names_of(stream, "stream")[0])
    wanted = [name for name in (names_of(on, "on")[0], key and names_of(key, "key")[0]) if name in measured.variables]
    measured = measured[wanted] if key is not None else measured
    if measured.nbytes <= HELD:
        measured = measured.load()
    options: dict[str, Any] = {"on": on, "key": key, "stream": stream, "scale": scale}
    rows = [{"uid": one.uid, **_compared(measured, one, options), **_parameters(one)} for one in self.values()]
    if rows and all("problem" in row for row in rows):
        raise UnsupportedOperation(f"none of {len(rows)} simulations can be compared: {rows[0]['problem']}")
    table = pd.DataFrame(rows, columns=_columns(rows)).set_index("uid")
    return table.sort_values("rms", kind="stable", na_position="last")


def _compared(measured: xr.Dataset, run: BlueskyRun, options: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one simulation, or why there are none."""
    from intake_bluesky.datasets.comparison import names_of

    try:
        source = run[names_of(options["stream"], "stream")[1]]
        # Without dask, which takes ten times as long as the arithmetic of a curve.
        simulated = source.read() if _declared_bytes(source) <= HELD else source.to_dask()
        found = compare(measured, simulated, **options)
        return {**{name: float(found[name]) for name in NUMBERS}, "points": found.measured.size}
    except (IntakeBlueskyError, OSError) as error:
        return {"problem": str(error)}


def _declared_bytes(source: BlueskyStream) -> int:
    from intake_bluesky.datasets.event_columns import declared

    layout = source._layout
    return layout.events * sum(abs(declared(key, spec).nbytes) for key, spec in layout.data_keys.items())


def _parameters(run: BlueskyRun) -> dict[str, Any]:
    given = run.start.get("parameters")
    return {f"parameters.{name}": value for name, value in given.items()} if isinstance(given, Mapping) else {}


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    parameters = dict.fromkeys(name for row in rows for name in row if name.startswith("parameters."))
    problem = ["problem"] if any("problem" in row for row in rows) else []
    return ["uid", *parameters, *NUMBERS, "points", *problem]

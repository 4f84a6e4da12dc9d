"""The picture of the second act: the nearest simulation, and how near all of them come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intake_bluesky.apps.demo.silicon import lattice_parameter
from intake_bluesky.catalogs.simulations.comparison import compare

if TYPE_CHECKING:
    import pandas as pd

    from intake_bluesky.catalogs.run import BlueskyRun
    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog

__all__ = ["draw_silicon"]

SHOWN = 600
"""Kelvin, of the pattern that is drawn."""


def draw_silicon(
    patterns: Mapping[int, BlueskyRun], tables: Mapping[int, pd.DataFrame], simulations: BlueskyCatalog, path: Path
) -> None:
    """Draw the measured, the simulated and the difference at one temperature, and rms against the lattice parameter."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(3, 2), height_ratios=(3, 1))
    above = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=above)
    best = simulations[tables[SHOWN].index[0]]
    _draw_pattern(above, below, compare(patterns[SHOWN], best, on="tth").load(), best.start["parameters"]["a"])
    _draw_rms(figure.add_subplot(grid[:, 1]), tables)
    figure.savefig(path, dpi=110)


def _draw_pattern(above: Any, below: Any, found: Any, edge: float) -> None:
    tth = found["tth"]
    above.plot(tth, found["measured"], ".", ms=3, color="0.35", label="measured")
    above.plot(tth, found["simulated"], lw=1, color="tab:red", label=f"simulated, a = {edge:.3f} Å")
    above.set(title=f"Silicon at {SHOWN} K, and the nearest of the simulations", ylabel="intensity (counts)")
    above.tick_params(labelbottom=False)
    above.legend(frameon=False)
    below.axhline(0, color="0.7", lw=0.8)
    below.plot(tth, found["difference"], lw=0.8, color="tab:blue")
    below.set(xlabel="2 theta (deg)", ylabel="difference")


def _draw_rms(axes: Any, tables: Mapping[int, pd.DataFrame]) -> None:
    from matplotlib import colormaps

    for number, (kelvin, table) in enumerate(tables.items()):
        colour = colormaps["plasma"](0.85 * number / max(len(tables) - 1, 1))
        points = table.sort_values("parameters.a")
        axes.plot(points["parameters.a"], points["rms"], "o-", ms=3, lw=1, color=colour, label=f"{kelvin} K")
        axes.axvline(lattice_parameter(kelvin), color=colour, lw=1, ls=":")
    axes.set(title="All simulations, at each temperature", xlabel="lattice parameter a (Å)")
    axes.set(ylabel="rms of the difference (counts)")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(useOffset=False)
    axes.set_xticks(np.arange(5.425, 5.4501, 0.005))
    axes.legend(loc="upper center", facecolor="white", edgecolor="none", framealpha=1, title="dotted: literature")

"""The picture of the demonstration, drawn from what the catalog gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intake_bluesky.apps.demo.beamline import distances
from intake_bluesky.apps.demo.experiments import Runs
from intake_bluesky.documents.columns import Array

if TYPE_CHECKING:
    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog

__all__ = ["draw", "radial_profiles"]


def draw(catalog: BlueskyCatalog, runs: Runs, path: Path) -> None:
    """Draw four panels as PNG: rocking curves, the map, the mean image and how its rings change."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.5), layout="constrained")
    (curves, scan_map), (image, rings) = figure.subplots(2, 2)
    _draw_curves(figure, curves, catalog, runs["rocking"])
    _draw_map(figure, scan_map, catalog[runs["map"][0]])
    frames = catalog[runs["images"][0]].primary.to_dask()["img"].data
    _draw_mean_image(figure, image, frames.mean(axis=0).compute())
    _draw_rings(figure, rings, radial_profiles(frames.compute()))
    figure.savefig(path, dpi=110)


def _draw_curves(figure: Any, axes: Any, catalog: BlueskyCatalog, uids: tuple[str, ...]) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    curves = []
    for uid in uids:
        run = catalog[uid]
        kelvin = float(run["baseline"].read()["temperature"][0])
        data = run["primary"].read()
        curves.append((kelvin, data["theta"].to_numpy(), data["diode"].to_numpy()))
    scale = Normalize(min(c[0] for c in curves), max(c[0] for c in curves))
    for kelvin, theta, counts in curves:
        colour = colormaps["plasma"](0.9 * scale(kelvin))
        axes.plot(theta, counts, "o-", ms=3, lw=1, color=colour, label=f"{kelvin:.0f} K")
    axes.set(title="A Bragg peak of a crystal as it warms", xlabel="theta (deg)", ylabel="diode (counts)")
    axes.set_xticks((-1, -0.5, 0, 0.5, 1))
    axes.legend(frameon=False)


def _draw_map(figure: Any, axes: Any, run: Any) -> None:
    data = run["primary"].to_dask()
    shape = run.metadata["start"]["shape"]
    extents = run.metadata["start"]["extents"]
    images = data["blob"]
    means = images.mean(images.dims[1:]).to_numpy().reshape(shape)
    drawn = axes.imshow(means, origin="lower", extent=(*extents[1], *extents[0]), cmap="viridis")
    axes.set(title=f"A map: the mean of each of {images.shape[0]} images", xlabel="x (mm)", ylabel="y (mm)")
    figure.colorbar(drawn, ax=axes, label="mean counts")


def _draw_mean_image(figure: Any, axes: Any, mean: Array) -> None:
    from matplotlib.colors import LogNorm

    drawn = axes.imshow(np.maximum(mean, 1.0), norm=LogNorm(2, float(mean.max())), cmap="magma")
    axes.set(title="Powder rings: the mean of all images", xlabel="column", ylabel="row")
    figure.colorbar(drawn, ax=axes, label="mean counts")


def _draw_rings(figure: Any, axes: Any, profiles: Array) -> None:
    from matplotlib.colors import LogNorm

    drawn = axes.imshow(profiles, aspect="auto", origin="lower", cmap="magma", norm=LogNorm(6, 160))
    axes.set_xlim(left=15)
    axes.set(title="Two phases: rings from image to image", xlabel="radius (pixels)", ylabel="image")
    figure.colorbar(drawn, ax=axes, label="mean counts on the ring")


def radial_profiles(frames: Array) -> Array:
    """Mean counts of each image at each distance from the centre of the rings.

    Examples
    --------
    >>> radial_profiles(np.full((2, 8, 8), 3.0))[:, 1].tolist()
    [3.0, 3.0]
    """
    radius = distances(frames.shape[1:]).astype(int)
    counts = np.maximum(np.bincount(radius.ravel()), 1)
    sums = [np.bincount(radius.ravel(), weights=frame.ravel()) for frame in frames]
    kept = min(frames.shape[1:]) // 2
    return np.asarray(sums)[:, :kept] / counts[:kept]

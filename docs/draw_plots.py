"""Draw the pictures of the pages that plot, from simulated experiments: ``python docs/draw_plots.py``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bluesky.plans import count
from matplotlib import pyplot as plt
from ophyd.sim import hw
from PIL import Image

from intake_bluesky import BlueskyCatalog
from intake_bluesky.apps.demo.experiments import Experiments, run_engine
from intake_bluesky.testing import MemoryStore

PICTURES = Path(__file__).parent / "_static"


def main() -> None:
    """Run the experiments, and draw a rocking curve, a map, an image and a count."""
    catalog = BlueskyCatalog(MemoryStore())
    with tempfile.TemporaryDirectory() as folder, catalog.writer() as writer:
        runs = Experiments(Path(folder), writer, grid_points=21).run()
        with run_engine({"scan_id": 9}) as engine:
            engine.subscribe(writer)
            [counted] = engine(count([hw().noisy_det], 25, delay=0.4))
        _save(catalog[runs["rocking"][2]], "plot-line")
        _save(catalog[runs["map"][0]], "plot-map")
        _save(catalog[runs["images"][0]], "plot-image")
        _save(catalog[counted], "plot-time")


def _save(run: Any, name: str) -> None:
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    run.plot(ax=axes)
    figure.savefig(PICTURES / f"{name}.png", dpi=80)
    plt.close(figure)
    with Image.open(PICTURES / f"{name}.png") as drawn:
        few = drawn.convert("RGB").quantize(256)
    few.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()

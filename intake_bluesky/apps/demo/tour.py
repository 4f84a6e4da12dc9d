"""The demonstration, step by step: experiments, a catalog, a Dataset, a lazy mean, a picture."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.apps.demo.experiments import GRID_POINTS, Experiments, Runs
from intake_bluesky.apps.demo.picture import draw
from intake_bluesky.apps.demo.silicon_act import Silicon, run_silicon
from intake_bluesky.apps.terminal.page import console, counted
from intake_bluesky.apps.terminal.tables import runs_table
from intake_bluesky.apps.terminal.trees import describe_run, run_tree
from intake_bluesky.catalogs.run_catalog import open_catalog

if TYPE_CHECKING:
    from rich.console import Console

    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog

__all__ = ["CATALOG", "Demonstration", "run_demo"]

CATALOG: Final = """\
# The runs of `intake-bluesky demo`, which come to lie {where}.
sources:
  demo:
    driver: bluesky-jsonl-catalog
    container: catalog
    description: Simulated experiments
    args:
      paths: "{{{{ CATALOG_DIR }}}}/{runs}"
"""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The results of the demonstration.

    Attributes
    ----------
    yaml : Path
        The catalog.
    runs : mapping of name to tuple of str
        The uids of each experiment.
    means : numpy.ndarray, shape (points of the map,), dtype float64
        Mean counts of each image of the map.
    picture : Path
    silicon : Silicon
        The second act.
    """

    yaml: Path
    runs: Runs
    means: Any
    picture: Path
    silicon: Silicon


def run_demo(folder: Path, *, grid_points: int = GRID_POINTS) -> Demonstration:
    """Run experiments, record them into `folder`, open them as a catalog and look at them.

    Parameters
    ----------
    folder : Path
        Made if it does not exist; runs that it has already stay.
    grid_points : int
        Images along each side of the map.
    """
    began = time.perf_counter()
    page = console()
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    yaml = _catalog_file(folder)
    runs = _record(page, folder, yaml, grid_points)
    catalog = _open(page, yaml)
    _show_runs(page, catalog, runs)
    _read(page, catalog, runs)
    means = _mean(page, catalog, runs)
    _step(page, "A picture")
    picture = folder / "demo.png"
    draw(catalog, runs, picture)
    page.print(f"{picture}")
    silicon = run_silicon(page, folder)
    _step(page, f"Done in {time.perf_counter() - began:.0f} seconds. What to type next")
    page.print(_next(yaml, runs, silicon))
    return Demonstration(yaml, runs, means, picture, silicon)


def _catalog_file(folder: Path) -> Path:
    """``catalogs/demo.yml`` beside the folder, as in a clone of the project, else one written into it."""
    beside = folder.resolve().parent / "catalogs" / "demo.yml"
    if folder.name == "demo-data" and beside.is_file():
        return Path(os.path.relpath(beside))
    own = folder / "demo.yml"
    own.write_text(CATALOG.format(where="beside it", runs="runs"), encoding="utf-8")
    return own


def _step(page: Console, title: str) -> None:
    page.print(f"\n{title}", style="bold")


def _record(page: Console, folder: Path, yaml: Path, grid_points: int) -> Runs:
    _step(page, f"Experiments: a bluesky RunEngine with simulated devices, recorded into {folder}/runs")
    catalog = open_catalog(str(yaml)).demo
    newest = next(catalog.selection.runs(limit=1), None)
    with catalog.writer() as writer:
        experiments = Experiments(
            folder.resolve(),
            writer,
            say=lambda text: page.print(f"  - {text}"),
            # A second demonstration in the same folder goes on counting, or `cat[scan_id]` would find two runs.
            scan_id=(newest.scan_id or 0) if newest else 0,
            grid_points=grid_points,
        )
        return experiments.run()


def _open(page: Console, yaml: Path) -> BlueskyCatalog:
    _step(page, "The catalog")
    page.print(f'>>> cat = intake.open_catalog("{yaml.as_posix()}").demo', style="cyan")
    catalog: BlueskyCatalog = open_catalog(str(yaml)).demo
    page.print(f"{counted(len(catalog), 'run')}; the newest:")
    page.print(runs_table(list(catalog.selection.runs(limit=12)), page.width))
    return catalog


def _show_runs(page: Console, catalog: BlueskyCatalog, runs: Runs) -> None:
    _step(page, "A run, its data unread")
    page.print(f'>>> run = cat["{runs["map"][0][:8]}"]', style="cyan")
    page.print(run_tree(describe_run(catalog[runs["map"][0]])))


def _read(page: Console, catalog: BlueskyCatalog, runs: Runs) -> None:
    _step(page, "A Dataset: the scan that was paused; of the events taken twice, the later ones count")
    uid = runs["rewound"][0]
    page.print(f'>>> cat["{uid[:8]}"].primary.read()', style="cyan")
    page.print(repr(catalog[uid].primary.read()))


def _mean(page: Console, catalog: BlueskyCatalog, runs: Runs) -> Any:
    _step(page, "A mean over images, lazily: nothing is read before compute()")
    page.print('>>> images = run.primary.to_dask()["blob"]', style="cyan")
    images = catalog[runs["map"][0]].primary.to_dask()["blob"]
    lazy = images.mean(images.dims[1:])
    size = images.nbytes / 2**20
    page.print(f"{images.dtype} {dict(images.sizes)}: {size:.0f} MiB in {images.data.npartitions} chunks")
    page.print(">>> mean = images.mean(images.dims[1:])", style="cyan")
    page.print(f"{len(dict(lazy.__dask_graph__()))} tasks, for {len(images)} images")
    page.print(">>> mean.compute()", style="cyan")
    began = time.perf_counter()
    means = lazy.to_numpy()
    page.print(f"from {means.min():.1f} to {means.max():.1f} counts, in {time.perf_counter() - began:.2f} s")
    return means


def _next(yaml: Path, runs: Runs, silicon: Silicon) -> str:
    uid = runs["rocking"][0][:8]
    command, python = _typed("intake-bluesky"), _typed("python")
    return (
        f"  {command} ls {yaml}\n"
        f"  {command} show {yaml} {uid}\n"
        f"  {command} validate {yaml}\n"
        f"  {command} ls {silicon.yaml}:simulations\n"
        f"  {python} -c \"import intake; print(intake.open_catalog('{yaml}').demo[-1].primary.read())\"\n"
        f"  {python} -c \"import intake; intake.open_catalog('{yaml}').demo[-1].plot().figure.savefig('map.png')\""
    )


def _typed(name: str) -> str:
    """The command of a program of this environment: its name where the shell finds it, else its path."""
    own = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not own.exists() or (found and Path(found).samefile(own)):
        return name
    return os.path.relpath(own) if own.is_relative_to(Path.cwd()) else str(own)

"""The second act of the demonstration: silicon as it warms, measured and simulated."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bluesky import plan_stubs as bps
from bluesky import plans as bp
from ophyd.sim import SynAxis, hw

from intake_bluesky.apps.demo.experiments import run_engine
from intake_bluesky.apps.demo.silicon import RANGE, WAVELENGTH, integrated, lattice_parameter, rings
from intake_bluesky.apps.demo.silicon_picture import draw_silicon
from intake_bluesky.apps.terminal.tables import runs_table
from intake_bluesky.catalogs.run_catalog import open_catalog
from intake_bluesky.runtime.optional import optional_import
from intake_bluesky.transfer import ingest

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from intake_bluesky.catalogs.run import BlueskyRun
    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog

__all__ = ["SILICON", "Silicon", "run_silicon"]

SILICON: Final = "silicon.yml"
KELVINS: Final = (300, 450, 600, 750)
EXPOSURES: Final = 3
SAMPLE: Final = {"sample": {"name": "Si powder"}}
CATALOG: Final = """\
# The second act of `intake-bluesky demo`: silicon as it warms, measured and simulated, {where}.
sources:
  images:
    driver: bluesky-jsonl-catalog
    container: catalog
    description: Powder rings of silicon on an area detector
    args:
      paths: "{{{{ CATALOG_DIR }}}}/{folder}/images"
  patterns:
    driver: bluesky-jsonl-catalog
    container: catalog
    description: Intensity over 2 theta, integrated from the images
    args:
      paths: "{{{{ CATALOG_DIR }}}}/{folder}/patterns"
  simulations:
    driver: bluesky-simulation-catalog
    container: catalog
    description: Patterns computed for lattice parameters, a run each
    args:
      paths: "{{{{ CATALOG_DIR }}}}/{folder}/sweep.nc"
      sweep: [a]
      program: Dans-Diffraction
      models: "text: sample.name == 'Si powder'"
  silicon:
    driver: bluesky-federated-catalog
    container: catalog
    description: All of it as one
    args:
      sources: {{images: images, patterns: patterns, simulations: simulations}}
"""


@dataclass(frozen=True, slots=True)
class Silicon:
    """The results of the act.

    Attributes
    ----------
    yaml : Path
        The catalogs.
    tables : mapping of int to pandas.DataFrame
        Of each temperature, kelvin, the comparison with every simulation, the best first.
    picture : Path
    """

    yaml: Path
    tables: Mapping[int, pd.DataFrame]
    picture: Path

    @property
    def lattice_parameters(self) -> dict[int, float]:
        """Those of the best simulations, angstrom, by temperature."""
        return {kelvin: float(table["parameters.a"].iloc[0]) for kelvin, table in self.tables.items()}


def run_silicon(page: Console, folder: Path) -> Silicon:
    """Measure silicon at several temperatures, simulate it, compare both, and draw the best.

    Parameters
    ----------
    page : rich.console.Console
        What is done is printed there.
    folder : Path
        That of the demonstration.
    """
    for name in ("pyFAI", "Dans_Diffraction"):
        optional_import(name, extra="demo", purpose="for the second act of the demonstration")
    yaml = _catalog_file(folder)
    catalogs = open_catalog(str(yaml))
    for name in ("images", "patterns"):
        (folder / "silicon" / name).mkdir(parents=True, exist_ok=True)
    page.print(f"\nSilicon as it warms: {EXPOSURES} images of its rings at each of {KELVINS} kelvin", style="bold")
    measured = _measure(catalogs.images, folder.resolve() / "silicon" / "files")
    page.print("\nImages become patterns (pyFAI), and those are runs, too", style="bold")
    page.print(">>> ingest.write_run(pattern, into=cat.patterns, temperature=300, ...)", style="cyan")
    patterns = [_reduced(run, catalogs.patterns) for run in measured]
    page.print(repr(patterns[0].primary.to_dask()))
    _simulate(page, catalogs.simulations, folder / "silicon" / "sweep.nc")
    tables = dict(_compared(page, catalogs, patterns))
    picture = folder / "silicon.png"
    draw_silicon(dict(zip(tables, patterns, strict=True)), tables, catalogs.simulations, picture)
    page.print(f"\n{picture}")
    return Silicon(yaml, tables, picture)


def _catalog_file(folder: Path) -> Path:
    """``catalogs/silicon.yml`` beside the folder, as in a clone of the project, else one written into it."""
    beside = folder.resolve().parent / "catalogs" / SILICON
    if folder.name == "demo-data" and beside.is_file():
        return Path(os.path.relpath(beside))
    own = folder / SILICON
    own.write_text(CATALOG.format(where="which come to lie beside it", folder="silicon"), encoding="utf-8")
    return own


def _measure(catalog: BlueskyCatalog, folder: Path) -> list[BlueskyRun]:
    """Take the images, by a RunEngine, and give the runs."""
    folder.mkdir(parents=True, exist_ok=True)
    temperature = SynAxis(name="temperature", egu="K", value=float(KELVINS[0]))
    camera, taken = hw(save_path=str(folder)).img, iter(range(10**9))
    camera.sim_set_func(lambda: rings(float(temperature.position), next(taken)))

    def warming() -> Iterator[Any]:
        for kelvin in KELVINS:
            yield from bps.mv(temperature, kelvin)
            yield from bp.count([camera, temperature], EXPOSURES, md={**SAMPLE, "temperature": kelvin})

    newest = next(catalog.selection.runs(limit=1), None)
    with catalog.writer() as writer, run_engine({"scan_id": (newest.scan_id or 0) if newest else 0}) as engine:
        engine.subscribe(writer)
        uids: Any = engine(warming())
    catalog.refresh()
    return [catalog[uid] for uid in uids]


def _reduced(run: BlueskyRun, into: BlueskyCatalog) -> BlueskyRun:
    image = run.primary.to_dask()["img"].mean("time").to_numpy()
    fields = {**SAMPLE, "temperature": run.start["temperature"], "image_run": run.uid}
    return ingest.write_run(integrated(image), into=into, plan_name="azimuthal_integration", **fields)


def _simulate(page: Console, catalog: BlueskyCatalog, path: Path) -> None:
    from intake_bluesky.apps.demo.silicon_model import LATTICE_PARAMETERS, sweep

    count = len(LATTICE_PARAMETERS)
    page.print(
        f"\n{count} simulated patterns in one netCDF file (Dans-Diffraction): each a run, none copied", style="bold"
    )
    with redirect_stdout(StringIO()):
        sweep(WAVELENGTH, RANGE).to_netcdf(path, engine="h5netcdf")
    page.print(">>> cat.simulations.search(Start('parameters.a') > 5.445)", style="cyan")
    found = catalog.refresh().search("text: parameters.a > 5.445")
    page.print(runs_table(list(found.selection.runs()), page.width))


def _compared(page: Console, catalogs: Any, patterns: list[BlueskyRun]) -> Iterator[tuple[int, pd.DataFrame]]:
    page.print("\nWhich simulation is nearest? At each temperature all are compared", style="bold")
    page.print(">>> run.simulations(cat.simulations).compare(run, on='tth')", style="cyan")
    for number, run in enumerate(patterns):
        table = run.simulations(catalogs.simulations).compare(run, on="tth")
        kelvin = int(run.start["temperature"])
        if not number:
            page.print(str(table.head(3)[["parameters.a", "rms", "factor", "offset", "points"]].reset_index(drop=True)))
        page.print(
            f"{kelvin} K: a = {table['parameters.a'].iloc[0]:.3f} angstrom; in the literature "
            f"{lattice_parameter(kelvin):.4f}"
        )
        yield kelvin, table

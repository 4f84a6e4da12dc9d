"""Configuration of Sphinx. Warnings are errors: `make docs`."""

from __future__ import annotations

import io
import os
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import intake_bluesky

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "intake-bluesky"
author = "intake-bluesky developers"
copyright = "2026, intake-bluesky developers"
version = release = intake_bluesky.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the numpydoc sections say types in words, with shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

nb_execution_mode = "force"
nb_execution_in_temp = True  # each page begins in an empty folder, and leaves nothing behind
nb_execution_show_tb = True  # of each page that fails; the builder of several pages at a time would not say why
nb_execution_timeout = 120
nb_output_stderr = "warn"  # what a page writes to stderr is a warning of the build

html_theme = "pydata_sphinx_theme"
html_title = "intake-bluesky"
html_static_path = ["_static/notebooks.css"]  # pictures are copied where a page shows them
html_css_files = ["notebooks.css"]
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}


def record_demonstration(app: Sphinx, env: BuildEnvironment, changed: list[str]) -> None:
    """Record the runs that the notebooks of the gallery read, once for all pages that are to be run."""
    from intake_bluesky import open_catalog
    from intake_bluesky.apps.demo.experiments import Experiments

    folder = Path(app.doctreedir) / "demonstration"
    # Notebooks inherit these; the index of files is not the user's.
    os.environ["INTAKE_BLUESKY_DEMO"] = str(folder)
    os.environ["INTAKE_BLUESKY_CACHE"] = str(folder / "cache")
    if any(page.startswith("gallery/") for page in changed):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(Path(__file__).parents[1] / "catalogs", folder / "catalogs")
        with open_catalog(folder / "catalogs" / "demo.yml").demo.writer() as writer, redirect_stdout(io.StringIO()):
            Experiments(folder / "demo-data", writer, grid_points=15).run()


def setup(app: Sphinx) -> None:
    """Have the demonstration recorded before any page is read."""
    app.connect("env-before-read-docs", record_demonstration)

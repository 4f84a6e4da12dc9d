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
nb_execution_raise_on_error = True
nb_execution_timeout = 120

html_theme = "pydata_sphinx_theme"
html_title = "intake-bluesky"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}


def record_demonstration(app: Sphinx) -> None:
    """Record the runs that the notebooks of the gallery read, once for a build folder."""
    from intake_bluesky.apps.demo import run_demo

    clone, folder = Path(__file__).parents[1], Path(app.doctreedir) / "demonstration"
    if not (folder / "demo-data" / "demo.png").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(clone / "catalogs", folder / "catalogs")
        with redirect_stdout(io.StringIO()):
            run_demo(folder / "demo-data", grid_points=15)
    os.environ["INTAKE_BLUESKY_DEMO"] = str(folder)
    os.environ["INTAKE_BLUESKY_CACHE"] = str(folder / "cache")


def setup(app: Sphinx) -> None:
    """Have the demonstration recorded before any page is read."""
    app.connect("builder-inited", record_demonstration)

"""Configuration of Sphinx. Warnings are errors: `make docs`."""

from __future__ import annotations

import intake_bluesky

project = "intake-bluesky"
author = "intake-bluesky developers"
copyright = "2026, intake-bluesky developers"
version = release = intake_bluesky.__version__

extensions = [
    "myst_parser",
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

html_theme = "pydata_sphinx_theme"
html_title = "intake-bluesky"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}

"""The other package that is imported as ``intake_bluesky``: a prototype of 2019, which pip knows as intake-bluesky."""

from __future__ import annotations

import warnings
from importlib import metadata
from typing import Final

from intake_bluesky.errors import DISTRIBUTION

__all__ = ["warn_of_namesake"]

NAMESAKE: Final = "intake-bluesky"
PROTOTYPES: Final = "0.1.0a"


def warn_of_namesake() -> None:
    """Warn where it is installed, too: the files of the two are in one folder, and pip mixes or removes both."""
    try:
        version = metadata.version(NAMESAKE)
    except metadata.PackageNotFoundError:
        return
    if not version.startswith(PROTOTYPES):  # an older checkout of this package
        return
    warnings.warn(
        f"the package {NAMESAKE} {version} is installed here, too: a prototype of 2019, whose files are in the same "
        f"folder as those of {DISTRIBUTION}. Uninstall both and install {DISTRIBUTION} again: pip uninstall {NAMESAKE} "
        f"{DISTRIBUTION}",
        stacklevel=2,
    )

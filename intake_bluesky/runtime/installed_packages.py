"""Other packages that are in the way of this one."""

from __future__ import annotations

import warnings
from importlib import metadata
from itertools import takewhile
from typing import Final

from intake_bluesky.errors import DISTRIBUTION, MissingDependency

__all__ = ["check_installed_packages"]

INTAKE: Final = (2, 0, 8)
NAMESAKE: Final = "intake-bluesky"
PROTOTYPES: Final = "0.1.0a"


def check_installed_packages() -> None:
    """Refuse an Intake that is too old; warn of the prototype of 2019 that is imported as ``intake_bluesky``, too.

    Packages that pin databroker 1 bring Intake 0.6 into an environment.

    Raises
    ------
    MissingDependency
    """
    found = metadata.version("intake")
    if _numbers(found) < INTAKE:
        needed = ".".join(map(str, INTAKE))
        raise MissingDependency(
            f'Intake {found} is installed, and this package needs {needed} or newer: pip install "intake>={needed}". '
            "Where another package needs the older one, as databroker 1 does, give each an environment of its own"
        )
    try:
        version = metadata.version(NAMESAKE)
    except metadata.PackageNotFoundError:
        return
    if version.startswith(PROTOTYPES):
        warnings.warn(
            f"the package {NAMESAKE} {version} is installed here, too: a prototype of 2019, whose files are in the "
            f"folder of those of {DISTRIBUTION}. Uninstall both and install {DISTRIBUTION} again: pip uninstall "
            f"{NAMESAKE} {DISTRIBUTION}",
            stacklevel=2,
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: of ``2.0.9.dev1`` 2, 0 and 9."""
    return tuple(map(int, takewhile(str.isdigit, version.split("."))))

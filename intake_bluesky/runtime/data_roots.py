"""The user's word for where detectors' files are: folders that documents from another machine may name.

Of the environment variable `VARIABLE`, and of the key ``data_roots`` of the user's configuration file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Final

from intake_bluesky.errors import WrongSetting

__all__ = ["advice", "users_data_roots"]

VARIABLE: Final = "INTAKE_BLUESKY_DATA_ROOTS"
KEY: Final = "data_roots"
NAMED: Final = 2  # folders of a path that make the root that a message proposes


def users_data_roots() -> tuple[str, ...]:
    """The folders that the user's environment and configuration name.

    Raises
    ------
    WrongSetting
    """
    named = [root for root in os.environ.get(VARIABLE, "").split(os.pathsep) if root]
    return tuple(_absolute(root, VARIABLE) for root in named) + _configured(configuration_file())


def configuration_file() -> Path:
    """Where the user's configuration is; there need not be any."""
    import platformdirs  # late: only for documents of another machine

    return Path(platformdirs.user_config_dir("intake-bluesky", appauthor=False), "config.yml")


@cache  # read once in a process
def _configured(path: Path) -> tuple[str, ...]:
    import yaml

    try:
        with path.open(encoding="utf-8") as file:
            settings = yaml.safe_load(file) or {}
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise WrongSetting(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, Mapping) or set(settings) - {KEY}:
        raise WrongSetting(f"{path} has one key, {KEY}, and was found to have {_told(settings)}")
    roots = settings.get(KEY) or []
    if not isinstance(roots, list) or not all(isinstance(root, str) and root for root in roots):
        raise WrongSetting(f"{KEY} in {path} is a list of folders, {KEY}: [/data], not {roots!r}")
    return tuple(_absolute(root, f"{KEY} in {path}") for root in roots)


def _told(settings: Any) -> str:
    return (
        ", ".join(map(str, settings)) if isinstance(settings, Mapping) else f"no keys, but a {type(settings).__name__}"
    )


def _absolute(root: str, where: str) -> str:
    place = os.path.expanduser(root)
    if "://" not in place and not os.path.isabs(place):
        raise WrongSetting(f"{where} names {root!r}, which is no absolute path")
    return place


def advice(path: str) -> str:
    """What to do so that a file may be read that documents of another machine name.

    Examples
    --------
    >>> advice("/nsls2/data/xf23id1/2026/x.h5")
    'if such files may be read, add the line `data_roots: [/nsls2/data]` to the arguments of the catalog'
    """
    if "://" in path:
        root = "/".join(path.split("/", 3)[:3])
    else:
        first, *folders = PurePath(path).parent.parts or ("",)
        root = str(PurePath(first, *folders[:NAMED])) if folders else path
    return f"if such files may be read, add the line `{KEY}: [{root}]` to the arguments of the catalog"

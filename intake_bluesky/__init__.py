"""Bluesky runs as Intake catalogs: search them, open them as lazy xarray Datasets, no server needed.

Every name is imported when it is first used, so that ``import intake_bluesky`` costs next to nothing.

>>> import intake_bluesky
>>> intake_bluesky.Start("plan_name") == "scan"
Start('plan_name') == 'scan'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from intake_bluesky._version import __version__
from intake_bluesky.late_names import late_names

if TYPE_CHECKING:
    from intake_bluesky import errors, query
    from intake_bluesky.apps.validate import validate
    from intake_bluesky.catalogs import catalog
    from intake_bluesky.catalogs.run import BlueskyRun
    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog
    from intake_bluesky.catalogs.simulations.comparison import compare
    from intake_bluesky.catalogs.stream import BlueskyStream
    from intake_bluesky.query import (
        Comparison,
        Config,
        Contains,
        Data,
        DataKey,
        Device,
        Eq,
        Exists,
        FullText,
        Fuzzy,
        In,
        Key,
        NotEq,
        NotIn,
        PartialUID,
        RawMongo,
        Regex,
        ScanID,
        ScanIDRange,
        Start,
        Stop,
        Stream,
        TextQuery,
        TimeRange,
    )
    from intake_bluesky.transfer import ingest

__all__ = [
    "BlueskyCatalog",
    "BlueskyRun",
    "BlueskyStream",
    "Comparison",
    "Config",
    "Contains",
    "Data",
    "DataKey",
    "Device",
    "Eq",
    "Exists",
    "FullText",
    "Fuzzy",
    "In",
    "Key",
    "NotEq",
    "NotIn",
    "PartialUID",
    "RawMongo",
    "Regex",
    "ScanID",
    "ScanIDRange",
    "Start",
    "Stop",
    "Stream",
    "TextQuery",
    "TimeRange",
    "__version__",
    "catalog",
    "compare",
    "errors",
    "ingest",
    "open_catalog",
    "query",
    "validate",
]

_HOMES = {
    "BlueskyCatalog": "intake_bluesky.catalogs.run_catalog",
    "BlueskyRun": "intake_bluesky.catalogs.run",
    "BlueskyStream": "intake_bluesky.catalogs.stream",
    "catalog": "intake_bluesky.catalogs",
    "compare": "intake_bluesky.catalogs.simulations.comparison",
    "ingest": "intake_bluesky.transfer",
    "open_catalog": "intake_bluesky.catalogs.run_catalog",
    "validate": "intake_bluesky.apps.validate",
}
_MODULES = ("errors", "query")
_named = late_names(__name__, {name: "intake_bluesky.query" for name in __all__ if name not in _MODULES} | _HOMES)


def __getattr__(name: str) -> object:
    return import_module(f"{__name__}.{name}") if name in _MODULES else _named(name)


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))

"""What YAML files of older packages name, and what stands for it here: handlers of assets, and modules to import.

The names of their drivers are entry points of the drivers of this package, so that Intake finds them, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

__all__ = ["OLDER_HANDLERS", "PACKAGES", "without_older_plugins"]

HANDLERS: Final[Mapping[str, str]] = {
    "AreaDetectorHDF5Handler": "AD_HDF5",
    "AreaDetectorHDF5SWMRHandler": "AD_HDF5_SWMR",
    "AreaDetectorHDF5SWMRTimestampHandler": "AD_HDF5_SWMR_TS",
    "AreaDetectorHDF5TimestampHandler": "AD_HDF5_TS",
    "AreaDetectorSPEHandler": "AD_SPE",
    "AreaDetectorTiffHandler": "AD_TIFF",
    "PilatusCBFHandler": "AD_CBF",
    "Xspress3HDF5Handler": "XSP3",
}
MODULES: Final = ("databroker.assets.handlers", "filestore.handlers", "area_detector_handlers.handlers")
OLDER_HANDLERS: Final[Mapping[str, str]] = {
    **{f"{module}.{name}": spec for module in MODULES for name, spec in HANDLERS.items()},
    "area_detector_handlers.eiger.EigerHandler": "AD_EIGER",
    "area_detector_handlers.handlers.AreaDetectorHDF5SingleHandler": "AD_HDF5_SINGLE",
    "area_detector_handlers.handlers.TimepixHDF5Handler": "TPX_HDF5",
    "ophyd.sim.NumpySeqHandler": "NPY_SEQ",
}
"""Dotted names of handlers, and the spec whose reader here reads what they read."""
PACKAGES: Final = frozenset({"databroker", "intake_bluesky"})


def without_older_plugins(data: Any) -> Any:
    """Leave out what a YAML file imports of older packages: their drivers are here under the same names.

    Examples
    --------
    >>> without_older_plugins({"plugins": {"source": [{"module": "databroker"}, {"module": "mine"}]}, "sources": {}})
    {'plugins': {'source': [{'module': 'mine'}]}, 'sources': {}}
    """
    match data:
        case {"plugins": {"source": list() as named} as plugins}:
            kept = [each for each in named if not (isinstance(each, dict) and _is_older(each.get("module")))]
            return {**data, "plugins": {**plugins, "source": kept}}
    return data


def _is_older(module: Any) -> bool:
    """Whether a module is of an older package, and not installed."""
    if not isinstance(module, str) or module.partition(".")[0] not in PACKAGES:
        return False
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:  # of the package that it is in
        return True

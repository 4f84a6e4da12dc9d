"""The configuration of a stream's devices as a Dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.presentation import present
from intake_bluesky.datasets.variables import EPOCH, Dimensions, agreed, attribute, attributes, variable_names
from intake_bluesky.documents.columns import column, conform, observe
from intake_bluesky.documents.model import MAX_TIME, RunHeader, to_plain
from intake_bluesky.documents.untyped import check_descriptors

__all__ = ["configuration"]


def configuration(header: RunHeader, stream: str, device: str, options: DatasetOptions | None = None) -> xr.Dataset:
    """Configuration of one device, a row a descriptor.

    Parameters
    ----------
    header : RunHeader
    stream, device : str
        A device without configuration gives a Dataset without variables.
    options : DatasetOptions, optional
        Of which ``sub_dict`` and the form of columns count.

    Returns
    -------
    xarray.Dataset
        ``time`` is the descriptors' time, float seconds since the epoch; arrays of any number of dimensions keep
        them.

    Raises
    ------
    DamagedRun
        When the configuration in a descriptor is not of event-model's form.
    """
    check_descriptors(header.uid, header.streams[stream], "configuration")
    blocks = [d.get("configuration", {}).get(device, {}) for d in header.streams[stream].descriptors]
    options = options or DatasetOptions()
    part = options.sub_dict
    keys = list(dict.fromkeys(key for block in blocks for key in block.get(part, {})))
    names = variable_names(dict.fromkeys(keys))
    dimensions = Dimensions(taken=set(names.values()))
    variables = {}
    for key in keys:
        values, nulls = column([block.get(part, {}).get(key) for block in blocks])
        seen = observe(values, nulls=nulls)
        array = conform(values, seen.dtype, seen.shape)
        spec = agreed([block["data_keys"][key] for block in blocks if key in block.get("data_keys", {})])
        attrs = attributes(key, names[key], spec, device=device)
        variables[names[key]] = (("time", *dimensions.of(spec, array.shape[1:])), array, attrs)
    times = np.array([_seconds(to_plain(d.get("time"))) for d in header.streams[stream].descriptors], dtype=np.float64)
    coords = {"time": ("time", times, {"units": EPOCH})}
    return present(xr.Dataset(variables, coords=coords, attrs={"object": attribute(device)}), options)


def _seconds(time: Any) -> float:
    return float(time) if isinstance(time, (int, float)) and abs(time) < MAX_TIME else np.nan

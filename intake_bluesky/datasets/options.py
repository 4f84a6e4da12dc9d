"""Options of the Dataset of a stream: its keys, what missing values become, the size of chunks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from intake_bluesky.assets.options import AssetOptions

__all__ = ["DatasetOptions"]

CHOICES: Final = {
    "sub_dict": ("data", "timestamps"),
    "on_missing": ("raise", "fill"),
    "on_mismatch": ("raise", "object"),
    "text_dtype": ("object", "string"),
}


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """Options of the Dataset of a stream.

    Attributes
    ----------
    include : tuple of str or None
        Keys wanted; None for all.
    exclude : tuple of str
        Keys not wanted.
    sub_dict : {"data", "timestamps"}
        The values, or when each was taken (float64 seconds since the epoch; streamed keys have none).
    on_missing : {"raise", "fill"}
        What computing does where a row has no value: floats are NaN in either case; others raise
        `AssetUnavailable`, or become 0, False, ``""``.
    on_mismatch : {"raise", "object"}
        Whether a value other than declared raises `DamagedRun`, or columns not observed before are read as
        Python objects.
    trim : bool
        Keep only the rows that all parts of the stream have.
    text_dtype : {"object", "string"}
        Give text as objects, each a `str`, with which all of xarray works; or as numpy's ``StringDType``, which takes
        less memory where texts differ, and of which xarray cannot ``where``, ``fillna``, ``reindex``, ``max`` ...
    portable : bool
        Give only what netCDF and Zarr hold, for writing: objects (dicts, mixtures, booleans with gaps) as JSON text,
        with the attribute ``media_type``; a variable for each field of a structure; chunks of one size.
    decode_times : bool
        Give ``time`` as datetime64[ns] (UTC) instead of float seconds.
    target_chunk : int or None
        Size in bytes that dask chunks are merged up to; None for the measured default.
    assets : AssetOptions
        Where and how to read external files.
    """

    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    sub_dict: Literal["data", "timestamps"] = "data"
    on_missing: Literal["raise", "fill"] = "raise"
    on_mismatch: Literal["raise", "object"] = "raise"
    trim: bool = False
    text_dtype: Literal["object", "string"] = "object"
    portable: bool = False
    decode_times: bool = False
    target_chunk: int | None = None
    assets: AssetOptions = field(default_factory=AssetOptions)

    def __post_init__(self) -> None:
        for name, (usual, other) in CHOICES.items():
            if getattr(self, name) not in (usual, other):
                raise ValueError(f"{name} is {usual!r} or {other!r}, not {getattr(self, name)!r}")

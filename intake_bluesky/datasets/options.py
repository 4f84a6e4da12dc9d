"""Options of the Dataset of a stream: its keys, what missing values become, the size of chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.runtime.sizes import byte_count

__all__ = ["DatasetOptions", "checked_options"]

ALLOWED: Final[Mapping[str, tuple[Any, ...]]] = {
    "sub_dict": ("data", "timestamps"), "on_missing": ("raise", "fill"), "on_mismatch": ("raise", "object"),
    "text_dtype": ("object", "string"),
    "trim": (False, True), "portable": (False, True), "decode_times": (False, True), "squeeze": (False, True),
    "as_events": (False, True), "join_method": (None, "stack", "concat"),
}  # fmt: skip
"""The values that options of few values may have."""


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
        Whether a column with a value other than declared raises `DamagedRun` when it is computed, or all values
        are looked at before dtypes are decided; only of stores that observe no values, in long lazy Datasets.
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
    as_events : bool
        Give a stream that holds a Dataset (`intake_bluesky.ingest.write_run`) as events, too: rows with ``time`` and
        ``seq_num``, as of any stream; else it is the Dataset as it was. So do `portable` and the timestamps.
    target_chunk : int or None
        Size in bytes that dask chunks are merged up to; None for the measured default. A stream takes text, too:
        ``"10 MiB"``.
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
    as_events: bool = False
    target_chunk: int | None = None
    assets: AssetOptions = field(default_factory=AssetOptions)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Bring options of a stream, as users give them, to one form.

    Raises
    ------
    TypeError, ValueError
        When one has another value than it may have.

    Examples
    --------
    >>> checked_options({"include": "det", "target_chunk": "1 MiB"})
    {'include': ('det',), 'target_chunk': 1048576}
    """
    found = dict(options)
    for name, allowed in ALLOWED.items():
        if name in found and not any(found[name] == one for one in allowed):
            raise ValueError(f"{name} is {' or '.join(map(repr, allowed))}, not {found[name]!r}")
    for name in ("include", "exclude"):
        if found.get(name) is not None:
            found[name] = _key_names(name, found[name])
    if found.get("target_chunk") is not None:
        found["target_chunk"] = _chunk_size(found["target_chunk"])
    return found


def _key_names(name: str, given: Any) -> tuple[str, ...]:
    """The keys that an option names: one, or an iterable of them; `TypeError` for what is neither."""
    keys = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if not all(isinstance(key, str) for key in keys):
        raise TypeError(f"{name} is a key or a list of keys, not {given!r}")
    return keys


def _chunk_size(given: Any) -> int:
    """Bytes that an option gives as a number or as text like ``"10 MiB"``; `ValueError` for what is no size."""
    try:
        size = byte_count(given) if isinstance(given, (int, str)) and not isinstance(given, bool) else 0
    except ValueError:
        size = 0
    if size < 1:
        raise ValueError(f"target_chunk is a number of bytes, or a size such as '10 MiB', not {given!r}")
    return size

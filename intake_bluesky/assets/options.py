"""How external files are found and read: one value that travels with every array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

__all__ = ["HANDLERS", "TARGET_CHUNK", "AssetOptions", "Handler", "JoinMethod"]

JoinMethod: TypeAlias = Literal["stack", "concat"]

Handler: TypeAlias = Callable[..., Callable[..., Any]]
"""``Handler(path, **resource_kwargs)(**datum_kwargs)`` is the value of one datum."""

HANDLERS: Final = "databroker.handlers"
"""The entry point group in which packages offer handlers."""

TARGET_CHUNK: Final = 40 * 2**20
"""Bytes that storage chunks are merged up to: 20 frames of 1024 x 1024 uint16."""


@dataclass(frozen=True, slots=True)
class AssetOptions:
    """How external files are found and read.

    Attributes
    ----------
    root_map : mapping of str to str
        Where data moved: the longest leading folder of a path that is a key is replaced, be the path in a URI or the
        ``root`` and ``resource_path`` of a legacy resource.
    handlers : mapping of spec to class or dotted name, or None
        Third parties' handlers, which then come before the readers of this package; None takes what installed packages
        offer under ``databroker.handlers``, for specs that this package does not read itself.
    trusted : bool
        Whether the documents come from a place that may name any local file and dotted names may be imported.
    allowed_roots : tuple of str
        Folders that documents which are not trusted may name, besides the targets of `root_map`.
    join_method : {"stack", "concat"} or None
        How the frames of successive events join; None takes the resource's own, else ``"stack"``.
    squeeze : bool
        Drop dimensions of length one from each event's value.
    target_chunk : int
        Bytes that storage chunks are merged up to, to make one dask chunk.
    on_missing : {"raise", "fill"}
        What computing does where frames are missing: raise `AssetUnavailable`, or fill with NaN, 0, False, ``""``.
        Floats of rows that have no frame are NaN in both cases; a whole missing file is no such row.
    storage_options : mapping
        Passed to fsspec for URLs such as ``s3://``. Where the documents are not trusted, those that name another web
        server than `servers` and the targets of `root_map` do not get them there.
    servers : tuple of str
        Scheme and host of the web servers that `storage_options` are meant for.
    anonymous : bool
        Whether no credentials are sent but those in `storage_options`: none that libraries find in the environment.
    finished : bool
        Whether the run has ended, so that its files grow no more.
    copies : callable or None
        Gives the options by which other catalogs, which have copies of the run, find its files: they are asked where a
        file cannot be read.
    """

    root_map: Mapping[str, str] = field(default_factory=dict)
    handlers: Mapping[str, Any] | None = None
    trusted: bool = True
    allowed_roots: tuple[str, ...] = ()
    join_method: JoinMethod | None = None
    squeeze: bool = False
    target_chunk: int = TARGET_CHUNK
    on_missing: Literal["raise", "fill"] = "raise"
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    servers: tuple[str, ...] = ()
    anonymous: bool = False
    finished: bool = False
    copies: Callable[[], Iterator[AssetOptions]] | None = field(default=None, compare=False, repr=False)

"""Where a run comes from: the store that has it, and how its files are found and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intake_bluesky.assets.options import AssetOptions
    from intake_bluesky.storage.contract import RunStore


@dataclass(frozen=True, slots=True)
class Origin:
    """What opening a run takes beside its documents; it travels with `RunSummary` and `RunHeader`.

    One listing may hold runs of several catalogs, each read as its own catalog reads it.

    Attributes
    ----------
    store : RunStore
        The one that has the run.
    assets : AssetOptions
        Moved folders (``root_map``), handlers, storage options, and whether documents are trusted with paths.
    source : str
        Name of the catalog among the sources of a federation; "" where it is none of one.
    """

    store: RunStore
    assets: AssetOptions
    source: str = ""

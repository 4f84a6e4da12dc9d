"""Where a run comes from: the store that has it, and how its files are found and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from intake_bluesky.assets.options import AssetOptions
    from intake_bluesky.documents.model import RunHeader, RunSummary
    from intake_bluesky.storage.contract import RunStore

    WithCopies: TypeAlias = Callable[["Origin", RunHeader | RunSummary], "Origin"]

__all__ = ["Origin"]


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
    copies : callable or None
        Gives, for one run, an origin that reads other copies where this one cannot be read.
    """

    store: RunStore
    assets: AssetOptions
    source: str = ""
    copies: WithCopies | None = field(default=None, compare=False, repr=False)

    def of_run(self, run: RunHeader | RunSummary) -> Origin:
        """The origin that a run is opened by: one that knows of its copies, if there may be any."""
        return self if self.copies is None else self.copies(self, run)

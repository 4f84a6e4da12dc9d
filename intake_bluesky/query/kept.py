"""What kept statistics say of a query about data: true, or open. What is neither is false."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from intake_bluesky.query.data import CompareStatistic, DataBetween, DataWithin
from intake_bluesky.query.nodes import Query

__all__ = ["Kept", "Verdict"]

Verdict: TypeAlias = Literal["true", "open"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Kept(Query):
    """Runs of which the statistics that a store keeps prove a query about data, or leave it open.

    Only for a store that `intake_bluesky.storage.SupportsStatistics`, which takes it in ``plan`` and ``find``; it is
    about what a store knows now and not about a run, so `matches` refuses it and it is not written as JSON or text.

    Parameters
    ----------
    query : CompareStatistic, DataBetween or DataWithin
    says : {"true", "open"}
        "true": it is true of these runs. "open": it may be true of these, because nothing is kept of them, or what is
        kept does not decide. It is false of all that are neither.
    reading : str
        How files are read, as in `intake_bluesky.storage.Recorded`: what other ways read does not count.

    Examples
    --------
    >>> from intake_bluesky.query import Data
    >>> Kept(Data("theta").max() > 5, "open")
    Kept(Data('theta').max() > 5, 'open')
    """

    query: CompareStatistic | DataBetween | DataWithin
    says: Verdict
    reading: str = ""

    def __repr__(self) -> str:
        reading = f", {self.reading!r}" if self.reading else ""
        return f"Kept({self.query!r}, {self.says!r}{reading})"

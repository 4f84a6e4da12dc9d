"""The text search of a MongoDB server, which has a meaning of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass

from intake_bluesky.query.nodes import Query


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ServerText(Query):
    """MongoDB's ``$text``: words stemmed and weighed as the server's text index has them.

    `RawMongo` makes it. Only a store in MongoDB answers it, which takes it in ``plan`` and ``find``; `matches` refuses
    it, and it is not written as JSON or text. `FullText` means the same everywhere.

    Parameters
    ----------
    condition : str
        The value of ``$text``, as JSON.

    Examples
    --------
    >>> from intake_bluesky.query.databroker import RawMongo
    >>> RawMongo({"$text": {"$search": "nickel"}})
    RawMongo({'$text': {'$search': 'nickel'}})
    """

    condition: str

    def __repr__(self) -> str:
        return f"RawMongo({ {'$text': json.loads(self.condition)}!r})"

"""How large a condition is, for a limit of SQLite that cannot be asked of a build."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["stack"]

WORDS: Final = re.compile(r"\w*\(|\)|\b(?:CASE|END|SELECT|AND|OR|NOT)\b")
WEIGHTS: Final = {"(": 1, "CASE": 5, "SELECT": 7, "AND": 2, "OR": 2, "NOT": 1}
CALL: Final = 4


@lru_cache(maxsize=256)  # values are bound, so that searches which differ in these have one text
def stack(sql: str) -> int:
    """How much SQLite's parser has to remember at once of a condition made here, about; it has room for 100 in all.

    Examples
    --------
    >>> stack("a = ?"), stack("(a = ? OR NOT coalesce(b = ?, 0))")
    (0, 8)
    """
    frames: list[dict[str, int]] = [{}]
    now = most = 0
    for word in WORDS.findall(sql):
        if word == ")":
            now -= sum(frames.pop().values())
            continue
        if word.endswith("("):
            frames.append({})
        kind, weight = ("CASE", -WEIGHTS["CASE"]) if word == "END" else (word, WEIGHTS.get(word, CALL))
        before = frames[-1].get(kind, 0)
        frames[-1][kind] = before + weight if kind == "CASE" else weight
        now += frames[-1][kind] - before
        most = max(most, now)
    return most

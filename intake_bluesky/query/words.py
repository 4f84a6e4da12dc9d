"""The nodes about the words of a run."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.nodes import Query
from intake_bluesky.query.values import freeze, show

SIMILAR: Final = 0.3
"""How similar two words are at least for `Fuzzy` by default; PostgreSQL's pg_trgm has the same default."""


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class FullText(Query):
    r"""Every word of a text occurs somewhere in the run start document.

    What is searched: each str among the values of the start document, at any depth in dicts and lists, its
    uid and plan_name too; not the keys, not numbers, not other documents. Text is brought to Unicode NFKC and
    case-folded, and words are what ``\w+`` finds in it; the words may come from different values, in any
    order, without stemming.

    Examples
    --------
    >>> FullText("Nickel foil")
    FullText('Nickel foil')
    """

    text: str

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not words(text):
            raise UnsupportedQuery(f"FullText takes a text of one or more words, not {text!r}")
        self._fill(text=str(text))

    def __repr__(self) -> str:
        return f"FullText({self.text!r})"


def words(text: str) -> frozenset[str]:
    r"""Give the words of a text: NFKC, case-folded, ``\w+``.

    Examples
    --------
    >>> sorted(words("Straße 12"))
    ['12', 'strasse']
    """
    return frozenset(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class Fuzzy(Query):
    """Every word of a text is similar to some word in the run start document: spelling mistakes are forgiven.

    What is searched, and what words are, is as in `FullText`. How similar two words are is their `similarity`.

    Parameters
    ----------
    text
        One or more words.
    threshold
        How similar, above 0 and up to 1, where only the word itself is left (or one of the very same trigrams).

    Examples
    --------
    >>> Fuzzy("nickle")
    Fuzzy('nickle', 0.3)
    """

    text: str
    threshold: float

    def __init__(self, text: str, threshold: float = SIMILAR) -> None:
        if not isinstance(text, str) or not words(text):
            raise UnsupportedQuery(f"Fuzzy takes a text of one or more words, not {text!r}")
        number: Any = freeze(threshold)
        if not isinstance(number, int | float) or isinstance(number, bool) or not 0 < number <= 1:
            raise UnsupportedQuery(f"the threshold of Fuzzy is a number above 0 and up to 1, not {threshold!r}")
        self._fill(text=str(text), threshold=float(number))

    def __repr__(self) -> str:
        return f"Fuzzy({self.text!r}, {show(self.threshold)})"


@lru_cache(maxsize=2**16)
def trigrams(word: str) -> frozenset[str]:
    """Give all runs of three characters of a word, two spaces before it and one behind.

    Examples
    --------
    >>> sorted(trigrams("ni"))
    ['  n', ' ni', 'ni ']
    """
    padded = f"  {word} "
    return frozenset(padded[place : place + 3] for place in range(len(padded) - 2))


def similarity(left: str, right: str) -> float:
    """Tell how similar two words are: the trigrams they share, by those that either has; 0 to 1.

    Both as `words` gives them. This is ``similarity`` of PostgreSQL's pg_trgm for single words.

    Examples
    --------
    >>> similarity("nickle", "nickel"), similarity("nickel", "nickel"), similarity("nickel", "foil")
    (0.4, 1.0, 0.0)
    """
    own, other = trigrams(left), trigrams(right)
    return len(own & other) / len(own | other)


def alike(word: str, other: str, threshold: float) -> bool:
    """Tell whether the `similarity` of two words is at least `threshold`; most that are not cost only a glance.

    Examples
    --------
    >>> alike("nickle", "nickel", 0.4), alike("nickle", "nickel", 0.5)
    (True, False)
    """
    wanted, padded = trigrams(word), f"  {other} "
    shared = sum([gram in padded for gram in wanted])
    # No less than the similarity, whose denominator is at least as large: most words fail here.
    return shared / len(wanted) >= threshold and similarity(word, other) >= threshold

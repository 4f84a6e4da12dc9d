"""Regular expressions that the server's PCRE and Python's ``re`` read alike, written so that no option matters.

These are texts, ``.``, classes of plain ASCII letters, anchors, groups, alternatives, and repeats of one letter or
class. Both differ in what a digit, a letter of a word or a space is, in flags, and in what ends a line; and a server
gives up a search that takes it too many steps, so a pattern may try few ways.
"""

from __future__ import annotations

import re
from typing import Final

from intake_bluesky.query import Regex

LONGEST: Final = 1000
WAYS: Final = 100
"""At most so many ways to match from one place, but for one repeat without an end."""
SPECIAL: Final = frozenset("\\.^$*+?{}[]|()")
CLASS: Final = re.compile(r"\[(\^?)((?:[A-Za-z0-9](?:-[A-Za-z0-9])?|[ _.,:/@#%=!])+)(-?)\]")
REPEAT: Final = re.compile(r"(?:([*+?])|\{([0-9]{1,3})(?:(,)([0-9]{1,3})?)?\})(\??)(?![*+?{])")
END: Final = r"(?![^\n]|\n[\s\S])"  # the end, or before a line's end there
GAP: Final = re.compile(r"\A\.\*|(?<!\\)\.\*\Z")  # of no meaning where a pattern is searched for


def portable(leaf: Regex) -> str | None:
    r"""Write a pattern for the server; None where it is not surely the same there.

    Examples
    --------
    >>> portable(Regex("x", "^Ni.*foil")), portable(Regex("x", "(Ni|Cu)[0-9]+")), portable(Regex("x", r"\d"))
    ('^Ni[^\\n]*foil', '(?:Ni|Cu)[0-9]+', None)
    """
    pattern = leaf.pattern
    if not set(leaf.flags) <= {"a", "s"} or len(pattern) > LONGEST or "\0" in pattern:
        return None
    if "|" not in pattern and "s" not in leaf.flags:
        pattern = GAP.sub("", pattern)
    try:
        return _Reader(pattern, any_letter=r"[\s\S]" if "s" in leaf.flags else r"[^\n]").whole()
    except ValueError:
        return None


class _Reader:
    """Reads a pattern that Python takes, once; ValueError for what is left to Python."""

    def __init__(self, pattern: str, any_letter: str) -> None:
        self._pattern, self._any = pattern, any_letter
        self._place = 0
        self._endless = False
        self._ways = 1

    def whole(self) -> str:
        found = self._alternatives()
        if self._place < len(self._pattern):
            raise ValueError("a bracket too many")
        return found

    def _alternatives(self) -> str:
        branches = [self._branch()]
        while self._takes("|"):
            branches.append(self._branch())
        self._try(len(branches))
        return "|".join(branches)

    def _branch(self) -> str:
        parts = []
        while self._place < len(self._pattern) and self._pattern[self._place] not in "|)":
            parts.append(self._part())
        return "".join(parts)

    def _part(self) -> str:
        if self._takes("^"):
            return self._once("^")
        if self._takes("$"):
            return self._once(END)
        if self._takes("(?:") or self._takes("("):
            found = f"(?:{self._alternatives()})"
            if not self._takes(")"):
                raise ValueError("another kind of group")
            return self._once(found)
        return self._repeated(self._letter())

    def _letter(self) -> str:
        if self._takes("."):
            return self._any
        found = CLASS.match(self._pattern, self._place)
        if found is not None:
            self._place = found.end()
            return found[0]
        letter = self._pattern[self._place]
        if letter == "\\":
            self._place += 1
            letter = self._pattern[self._place]
            if not letter.isascii() or letter.isalnum() or not letter.isprintable():
                raise ValueError("not a letter that stands for itself")
        elif letter in SPECIAL:
            raise ValueError("another kind of class or repeat")
        self._place += 1
        return f"\\{letter}" if letter in SPECIAL else letter

    def _once(self, found: str) -> str:
        if REPEAT.match(self._pattern, self._place) or self._pattern[self._place : self._place + 1] in tuple("*+?{"):
            raise ValueError("a repeat of more than a letter")
        return found

    def _repeated(self, letter: str) -> str:
        found = REPEAT.match(self._pattern, self._place)
        if found is None:
            return self._once(letter)
        self._place = found.end()
        sign, low, comma, high, _ = found.groups()  # whether the shortest is tried first does not matter
        if sign in ("*", "+") or (comma and high is None):
            if self._endless:
                raise ValueError("two repeats without an end")
            self._endless = True
        else:
            self._try(2 if sign else int(high or low) - int(low) + 1)
        return f"{letter}{found[0].removesuffix('?') if found[5] else found[0]}"

    def _try(self, ways: int) -> None:
        self._ways *= ways
        if not 0 < self._ways <= WAYS:
            raise ValueError("too many ways")

    def _takes(self, text: str) -> bool:
        if not self._pattern.startswith(text, self._place):
            return False
        self._place += len(text)
        return True

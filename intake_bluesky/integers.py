"""Limits of integers: of 64 bits, and of those that floats hold exactly."""

from __future__ import annotations

from typing import Final

__all__ = ["FLOAT_EXACT", "INT64_END", "UINT64_END", "is_int64"]

INT64_END: Final = 2**63
"""The first integer past 64 bits with a sign; the last below zero is ``-INT64_END``."""
UINT64_END: Final = 2**64
"""The first past 64 bits without a sign."""
FLOAT_EXACT: Final = 2**53
"""Up to here, and down to ``-FLOAT_EXACT``, a float64 holds every integer."""


def is_int64(number: float) -> bool:
    """Whether a number is in the range of integers of 64 bits with a sign.

    Examples
    --------
    >>> is_int64(-(2**63)), is_int64(2**63), is_int64(float("nan"))
    (True, False, False)
    """
    return -INT64_END <= number < INT64_END

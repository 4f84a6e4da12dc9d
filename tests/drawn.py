"""Examples of Hypothesis as a list: where one costly store holds many."""

from __future__ import annotations

import time
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

__all__ = ["drawn"]

T = TypeVar("T")


def drawn(strategy: st.SearchStrategy[T], number: int) -> list[T]:
    """So many examples: the same each time, or others each time in the profile for that."""
    found: list[T] = []
    chosen = 0 if settings.get_current_profile_name() != "fuzz" else time.time_ns()
    print(f"drawn from the seed {chosen}")  # pytest shows it where a test fails: another would find other examples

    @seed(chosen)
    @settings(
        max_examples=number, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(one: T) -> None:
        found.append(one)

    collect()
    return found[:number]

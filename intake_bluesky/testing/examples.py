"""The register of example runs: what every store and every reader has to get right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias

from intake_bluesky.documents.model import Document
from intake_bluesky.testing.compose import RunComposer

__all__ = ["EXAMPLES", "INVALID", "UNPORTABLE", "Run", "example"]

P = ParamSpec("P")
Run: TypeAlias = list[tuple[str, Document]]

EXAMPLES: Final[dict[str, Callable[[Path], Run]]] = {}
"""Name to a function that takes a folder, where it may write files, and returns (name, document) pairs."""

UNPORTABLE: Final[set[str]] = set()
"""Examples with a column that only Python objects hold: they do not go to netCDF or Zarr as they are."""

INVALID: Final[set[str]] = set()
"""Examples that event-model's schemas refuse, and that facilities have all the same."""


def example(
    *, portable: bool = True, valid: bool = True, stop: Mapping[str, Any] | None = {}, **metadata: Any
) -> Callable[[Callable[Concatenate[RunComposer, P], None]], Callable[P, Run]]:
    """Register what composes a run between its start, with this metadata, and its stop; None is no stop.

    It becomes a function that makes the documents, of the folder for its files if it writes any.
    """

    def register(compose: Callable[Concatenate[RunComposer, P], None]) -> Callable[P, Run]:
        name, own = compose.__name__, signature(compose)

        @wraps(compose, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def make(*folder: P.args, **named: P.kwargs) -> Run:
            # Copied: whoever changes the documents of one call changes those of no other.
            run = RunComposer(name, **deepcopy(metadata))
            compose(run, *folder, **named)
            if stop is not None:
                run.stop(**deepcopy(dict(stop)))
            return run.documents

        after_run = list(own.parameters.values())[1:]
        make.__signature__ = own.replace(parameters=after_run, return_annotation="Run")  # type: ignore[attr-defined]
        if name in EXAMPLES:
            raise ValueError(f"there is an example {name!r} already")
        any_make: Callable[..., Run] = make
        EXAMPLES[name] = any_make if after_run else lambda folder: any_make()
        if not portable:
            UNPORTABLE.add(name)
        if not valid:
            INVALID.add(name)
        return make

    return register

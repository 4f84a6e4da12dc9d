"""The points of a sweep: a Dataset with dimensions of which each combination of places is a simulation."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.errors import DamagedRun
from intake_bluesky.runtime.secrets import shown
from intake_bluesky_simulation.simulation_starts import plain_parameter, sorted_json

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["sweep_points"]

MOST: Final = 2**20
"""Points of one sweep: each takes about a kilobyte of memory."""
Point = tuple[dict[Hashable, int], dict[str, Any]]
"""Places along the dimensions of a sweep, and what coordinates have there."""


def sweep_points(datasets: Mapping[str, xr.Dataset], sweep: Sequence[str], address: str) -> Iterator[Point]:
    """Yield the points, the last dimension varying fastest.

    Parameters
    ----------
    datasets : mapping of stream to Dataset
    sweep : sequence of str
        Dimensions.
    address : str
        Of the output, for messages.

    Raises
    ------
    DamagedRun
        When there is no such dimension, two points have the same coordinates, or groups have different ones.
    """
    sizes = {dim: _size(datasets, dim, address) for dim in sweep}
    if math.prod(sizes.values()) > MOST:
        runs = f"{math.prod(sizes.values()):,}"
        raise DamagedRun(
            f"a sweep over {', '.join(sweep)} of {shown(address)} would be {runs} runs, and may be {MOST:,}: name the "
            "dimensions of parameters alone"
        )
    values = {dim: _coordinates(datasets, dim, sizes[dim], address) for dim in sweep}
    seen = set[str]()
    for place in product(*map(range, sizes.values())):
        point: dict[Hashable, int] = dict(zip(sweep, place, strict=True))
        told = {name: value for dim, at in point.items() for name, value in values[str(dim)][at].items()}
        key = sorted_json(told)
        if key in seen:
            raise DamagedRun(
                f"{shown(address)} has the point {told} of its sweep more than once: runs would have one name. Give "
                "the dimension another coordinate as well, such as the number of a repetition"
            )
        seen.add(key)
        yield point, told


def _size(datasets: Mapping[str, xr.Dataset], dim: str, address: str) -> int:
    sizes = {dataset.sizes[dim] for dataset in datasets.values() if dim in dataset.sizes}
    if len(sizes) == 1:
        return int(sizes.pop())
    known = ", ".join(dict.fromkeys(repr(one) for dataset in datasets.values() for one in dataset.sizes)) or "none"
    found = f"has it with the sizes {sorted(sizes)}" if sizes else f"has no dimension {dim!r}; it has {known}"
    raise DamagedRun(f"a sweep over {dim!r} was asked of {shown(address)}, which {found}")


def _coordinates(datasets: Mapping[str, xr.Dataset], dim: str, size: int, address: str) -> list[dict[str, Any]]:
    """What the coordinates along a dimension alone have at each place; the place itself where there are none."""
    found: dict[str, list[Any]] = {}
    for dataset in datasets.values():
        for name, coordinate in dataset.coords.items():
            if coordinate.dims == (dim,):
                values = coordinate.values
                # Of dates `tolist` would make integers, and of short floats long ones that are not quite the same.
                listed = values if values.dtype.kind in "mMf" else values.tolist()
                read = [plain_parameter(one) for one in listed]
                if sorted_json(found.setdefault(str(name), read)) != sorted_json(read):
                    raise DamagedRun(
                        f"groups of {shown(address)} have other values of {str(name)!r} along {dim!r} of the sweep: "
                        "which are of which point, nobody tells. Rename one of them"
                    )
    named = found or {dim: list(range(size))}
    return [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]

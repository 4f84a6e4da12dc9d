"""Datasets of all kinds, and what is the same of two."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import xarray as xr
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from intake_bluesky.documents.columns import TEXT, Array

TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
NAMES: Final = st.sampled_from(
    ["I", "time", "seq_num", "tth", "θ", "a b", "det/image", "a.b", "$x", "", "dim_0", "x", "y", "_id", "event"]
) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
DIMENSIONS: Final = st.sampled_from(["time", "tth", "x", "dim_0", "event", "θ 2"])
FIXED: Final = [
    "?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u8", "f2", "f4", "f8", ">f8", "c8", "c16", "S3", "U4",
    "M8[ns]", "M8[s]", "m8[ms]", "m8[ns]",
]  # fmt: skip
DTYPES: Final = st.sampled_from([*map(np.dtype, FIXED), np.dtype(object), TEXT])


@st.composite
def arrays(draw: st.DrawFn, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """An array of any of the dtypes, with all that it may hold."""
    size = int(np.prod(shape))
    if dtype.kind in "OTU":
        flat = np.empty(size, object)
        flat[:] = draw(st.lists(TEXTS, min_size=size, max_size=size))
        return flat.astype(dtype).reshape(shape)
    return draw(npst.arrays(dtype, shape))


def attributes() -> st.SearchStrategy[dict[str, Any]]:
    """Attributes of all kinds that a Dataset is kept with."""
    plain: st.SearchStrategy[Any] = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXTS,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
        max_leaves=3,
    )
    dtypes = st.sampled_from([np.dtype(kind) for kind in FIXED])
    scalars = dtypes.flatmap(lambda dtype: arrays(dtype, ()).map(lambda array: array[()]))
    many = st.tuples(dtypes, st.sampled_from([(), (0,), (2,), (1, 2)])).flatmap(lambda pair: arrays(*pair))
    return st.dictionaries(st.sampled_from(["units", "a.b", "$", "θ", ""]) | NAMES, plain | scalars | many, max_size=2)


@st.composite
def datasets(draw: st.DrawFn) -> xr.Dataset:
    """A Dataset of any dtypes, dimensions (empty ones, too), coordinates and attributes, some of it of dask."""
    sizes = draw(st.dictionaries(DIMENSIONS, st.integers(0, 3), max_size=3))
    names = draw(st.lists(NAMES, max_size=5, unique=True))
    variables, coordinates = {}, []
    for name in names:
        free = [dim for dim in sizes if dim not in names or dim == name]
        # xarray takes a variable called like a dimension only as that dimension's coordinate.
        dims = [name] if name in sizes else draw(st.permutations(list(sizes)).map(tuple))
        dims = dims if name in sizes else dims[: draw(st.integers(0, len(dims)))]
        del free
        shape = tuple(sizes[dim] for dim in dims)
        # pandas has no index of float16, of which xarray warns.
        dtype = draw(DTYPES.filter(lambda one: one != np.float16) if name in sizes else DTYPES)
        array = draw(arrays(dtype, shape))
        variables[name] = xr.Variable(dims, array, draw(attributes()))
        if name not in sizes and draw(st.booleans()):
            coordinates.append(name)
    dataset = xr.Dataset(variables, attrs=draw(attributes())).set_coords(coordinates)
    return _some_lazy(dataset, draw(st.booleans()))


def _some_lazy(dataset: xr.Dataset, lazy: bool) -> xr.Dataset:
    chunked = {
        name: v.chunk(2) for name, v in dataset.variables.items() if lazy and v.ndim and v.dtype.kind not in "OT"
    }
    outer = {name: v for name, v in chunked.items() if name not in dataset.dims}
    return dataset.assign(outer).set_coords(list(dataset.coords))


def everything() -> xr.Dataset:
    """Each dtype with its extremes, names that databases refuse, and attributes of all kinds."""
    variables: dict[str, Any] = {}
    for kind in "?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u8":
        dtype = np.dtype(kind)
        ends = [False, True] if kind == "?" else [np.iinfo(dtype).min, np.iinfo(dtype).max]
        variables[f"of {kind}"] = ("tth", np.array([*ends, ends[0]], dtype))
        variables[f"fixed.{kind}"] = ("two", np.array(ends, dtype))
    for kind in "f2", "f4", "f8", ">f8", "c8", "c16":
        dtype = np.dtype(kind)
        variables[f"$of {kind}"] = ("tth", np.array([np.nan, -np.inf, np.finfo(dtype).tiny], dtype))
        variables[f"fixed/{kind}"] = ((), np.array(-0.0, dtype))
    for kind in "M8[ns]", "M8[s]", "m8[ms]":
        variables[kind] = ("tth", np.array([np.iinfo("i8").min, -1, 2**40]).view(f"<{kind}"))
    texts = ["", "\0 NUL", "Å 2θ 😀 " * 9]
    variables |= {"text": ("tth", np.array(texts, object)), "": ("tth", np.array(["", "b", "Å"]))}
    variables |= {"bytes": (("tth", "two"), np.array([[b"", b"\xff"], [b"a", b"bc"], [b"\0c", b""]]))}
    variables |= {
        "\0": ((), "NUL"),
        "time": ("tth", [1, 2, 3]),
        "seq_num": ("tth", texts),
        "_id": (("two", "tth"), np.eye(2, 3)),
    }
    variables |= {
        "nothing": (("none", "tth"), np.zeros((0, 3))),
        "large": ("k", np.arange(3000.0)),
        "x": (("x", "tth"), np.ones((2, 3))),
    }
    attrs = {
        "$a.b": {"c": [None, True, 1.5, "d", -(2**63), {"e": float("inf")}]}, "": "", "units": "mm", "array": np.eye(2),
        "scalar": np.float32(0.1), "date": np.datetime64("2026-01-01"), "none": None, "complex": np.complex64(1j),
        "texts": np.array(["a", "bc"]), "bytes": np.bytes_(b"\xff"), "empty": np.zeros((2, 0)),
        "max": np.uint64(2**64 - 1),
    }  # fmt: skip
    dataset = xr.Dataset({name: (*own, attrs) for name, own in variables.items()}, {"tth": [0.1, 0.2, 0.3]}, attrs)
    return dataset.set_coords(["time", "text", "fixed.u8", "_id"])


def assert_same(observed: xr.Dataset, expected: xr.Dataset) -> None:
    """Names and their order, dimensions, dtypes, values, attributes with their types."""
    expected = expected.compute()
    assert list(observed.variables) == list(expected.variables)
    assert list(observed.coords) == list(expected.coords)
    assert_attributes(observed.attrs, expected.attrs)
    for name, own in expected.variables.items():
        found = observed.variables[name]
        assert found.dims == own.dims, name
        assert found.dtype == own.dtype, name
        np.testing.assert_array_equal(found.values, own.values, strict=True)
        if own.dtype.kind == "f":
            known = ~np.isnan(own.values)
            np.testing.assert_array_equal(np.signbit(found.values[known]), np.signbit(own.values[known]))
        assert_attributes(found.attrs, own.attrs)


def assert_attributes(observed: dict[Any, Any], expected: dict[Any, Any]) -> None:
    """Attributes, their order, types, dtypes and shapes."""
    assert list(observed) == list(expected)
    for name, value in expected.items():
        found = observed[name]
        assert type(found) is type(value), name
        if isinstance(value, (np.ndarray, np.generic)):
            assert found.dtype == value.dtype, name
            np.testing.assert_array_equal(np.asarray(found), np.asarray(value), strict=True)
        else:
            assert repr(found) == repr(value), name  # NaN is then itself

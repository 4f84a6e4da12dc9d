"""Names, dimensions and attributes of variables."""

from __future__ import annotations

from intake_bluesky.datasets.variables import Dimensions, attributes, variable_names


def test_names_that_xarray_or_the_coordinates_need_are_changed() -> None:
    observed = variable_names(dict.fromkeys(["time", "seq_num", "a/b", "x"]))
    assert observed == {"time": "time_", "seq_num": "seq_num_", "a/b": "a_b", "x": "x"}


def test_changed_names_never_collide() -> None:
    observed = variable_names(dict.fromkeys(["a/b", "a_b", "a/b_", "time", "time_"]))
    assert observed["a_b"] == "a_b"
    assert observed["time_"] == "time_"
    assert len(set(observed.values())) == 5


def test_square_images_get_distinct_dimensions() -> None:
    assert Dimensions(set()).of({}, (4, 4)) == ("dim_0", "dim_1")


def test_dimensions_are_numbered_over_the_stream() -> None:
    dimensions = Dimensions(set())
    assert dimensions.of({}, (4,)) == ("dim_0",)
    assert dimensions.of({}, (4, 5)) == ("dim_1", "dim_2")


def test_given_dimensions_are_shared_only_at_one_size() -> None:
    dimensions = Dimensions(set())
    assert dimensions.of({"dims": ["y", "x"]}, (4, 5)) == ("y", "x")
    assert dimensions.of({"dims": ["y", "x"]}, (4, 5)) == ("y", "x")
    assert dimensions.of({"dims": ["y", "x"]}, (8, 5)) == ("dim_0", "dim_1")


def test_given_dimensions_that_cannot_be_are_numbered() -> None:
    dimensions = Dimensions({"image"})
    for dims in (["image"], ["time"], ["a", "b"], "x", None, [3]):
        (name,) = dimensions.of({"dims": dims}, (4,))
        assert name.startswith("dim_")
    assert dimensions.of({"dims": ["a", "a"]}, (2, 2)) != ("a", "a")


def test_numbered_dimensions_avoid_names_in_use() -> None:
    assert Dimensions({"dim_0"}).of({}, (3,)) == ("dim_1",)


def test_attributes_hold_only_what_files_take() -> None:
    spec = {
        "source": "PV:X",
        "units": None,
        "precision": 3,
        "object_name": "motor",
        "limits": {"control": {"low": -1.0, "high": None}, "display": None},
        "choices": ["a", "b"],
        "dtype": "number",
    }
    observed = attributes("x/y", "x_y", spec)
    assert observed == {
        "object": "motor",
        "source": "PV:X",
        "precision": 3,
        "limits_control_low": -1.0,
        "choices": ["a", "b"],
        "key": "x/y",
    }

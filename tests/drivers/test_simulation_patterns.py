"""Patterns of paths with values in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.errors import PluginError
from intake_bluesky_simulation import BlueskySimulationCatalog
from intake_bluesky_simulation.path_patterns import PathPattern
from tests.drivers.simulated import pattern, write

WORDS = st.text("abcxyz-µ ", min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("a_{a:f}.nc", "a_5.nc", {"a": 5.0}),
        ("a_{a:.4f}.nc", "a_-1.5e-3.nc", {"a": -0.0015}),
        ("a_{a:g}.nc", "a_inf.nc", {"a": float("inf")}),
        ("{n:03d}.nc", "007.nc", {"n": 7}),
        ("{n:d}.nc", "7.5.nc", None),
        ("{x}_{x}.nc", "q_q.nc", {"x": "q"}),
        ("{x}_{x}.nc", "q_r.nc", None),
        ("{x}/{y}.nc", "a/b.nc", {"x": "a", "y": "b"}),
        ("{x}.nc", "a/b.nc", None),
        ("**/{x}.nc", "a/b/c.nc", {"x": "c"}),
        ("**/{x}.nc", "c.nc", {"x": "c"}),
        ("[ab]?_{x}_*.nc", "bz_q_rest.nc", {"x": "q"}),
        ("{{{x}}}.nc", "{q}.nc", {"x": "q"}),
        ("*.nc", "anything.nc", {}),
    ],
)
def test_values(text: str, path: str, values: dict[str, Any] | None) -> None:
    assert PathPattern.of(text).values(path) == values


@pytest.mark.parametrize("text", ["{x}*.nc", "*{x}.nc", "{x}{y:d}.nc", "**{x}**.nc"])
def test_a_field_beside_a_star_or_another_field_is_refused(text: str) -> None:
    with pytest.raises(PluginError, match="nothing in the pattern"):
        PathPattern.of(text)


@pytest.mark.parametrize("text", ["{0}.nc", "{}.nc", "{a:x}.nc", "{a!r}.nc", "{a.b}.nc", "{a[0]}.nc", "a{", "}b"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(PluginError, match="pattern"):
        PathPattern.of(text)


@given(st.integers(), st.floats(allow_nan=False), WORDS)
def test_what_python_writes_is_read_back(number: int, value: float, word: str) -> None:
    text = "{word}/n_{number:d}_a_{value:f}.nc"
    found = PathPattern.of(text).values(f"{word}/n_{number}_a_{value!r}.nc")
    assert found == {"word": word, "number": number, "value": value}


def test_folders_that_look_like_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sims [2026] {x}"
    folder.mkdir()
    write(pattern(5.43), folder / "a_5.43.nc")
    monkeypatch.chdir(folder)
    for place in (".", "a_{a:f}.nc", "*.nc", "./a_5.43.nc"):
        assert len(BlueskySimulationCatalog(place)) == 1
    assert len(BlueskySimulationCatalog(folder)) == 1, "by that very name it is no pattern"
    escaped = str(folder).replace("{", "{{").replace("}", "}}")
    assert len(BlueskySimulationCatalog(f"{escaped}/a_{{a:f}}.nc")) == 1

"""Progress of long work: who is told, and where a bar shows."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from intake_bluesky.runtime.progress import Progress, reporting, track


def test_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intake_bluesky.runtime.progress.OFTEN", 0.0)
    told: list[Progress] = []
    with reporting(told.append):
        assert list(track("abc", total=3, what="x")) == ["a", "b", "c"]
    assert [one.done for one in told] == [0, 1, 2, 3]


@pytest.mark.parametrize("where", ["terminal", "notebook"])
def test_bar_where_somebody_watches(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("intake_bluesky.runtime.progress.SOON", 0.0)
    if where == "terminal":
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    else:
        shell = type("Shell", (), {"kernel": None})()
        ipython: Any = type("IPython", (), {"get_ipython": staticmethod(lambda: shell)})
        monkeypatch.setitem(sys.modules, "IPython", ipython)
    for _ in track(range(3), total=3, what="indexing"):
        time.sleep(0.15)
    shown = capsys.readouterr()
    assert "indexing" in shown.err
    assert "3" in shown.err
    assert shown.out == ""


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(track("ab", total=2, what="indexing")) == ["a", "b"]
    assert "indexing" not in capsys.readouterr().err

"""What stores keep of the runs described last."""

from __future__ import annotations

import pytest

from intake_bluesky.storage.header_cache import HeaderCache


def test_keeps_those_used_last() -> None:
    cache = HeaderCache[int](size=2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(uid) for uid in "abc"] == [1, None, 3]
    cache.clear()
    assert cache.get("a") is None


def test_gives_no_other_version() -> None:
    cache = HeaderCache[int]()
    cache.put("a", 1, "first")
    cache.put("a", 2, "second")
    assert [cache.get("a", version) for version in ("first", "second", "")] == [None, 2, None]


def test_gives_nothing_old_and_drops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    cache = HeaderCache[int](age=0.5)
    cache.put("a", 1)
    now = 100.4
    assert cache.get("a") == 1
    now = 100.6
    assert cache.get("a") is None
    cache.put("b", 2)
    assert list(cache._runs) == ["b"]

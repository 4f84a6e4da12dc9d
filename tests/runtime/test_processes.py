"""Values of one process are made anew in a forked child, and its parent's are left alone."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import threading
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.shared import Shared
from intake_bluesky.runtime.threads import map_ahead, run_all


def in_a_fork(work: Callable[[], Any]) -> Any:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def run() -> None:
        results.put(work())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which users do all the same
        child = context.Process(target=run)
        child.start()
    found = results.get()
    child.join()
    assert child.exitcode == 0
    return found


def test_made_once_and_let_go_of() -> None:
    closed: list[int] = []
    value = PerProcess(closed.append)
    made = iter(range(10))
    assert not value
    assert [value.get(lambda: next(made)) for _ in range(3)] == [0, 0, 0]
    assert value
    value.close()
    value.close()
    assert value.get(lambda: next(made)) == 1
    del value
    gc.collect()
    assert closed == [0, 1]


def test_what_cannot_be_made_is_tried_again() -> None:
    value: PerProcess[int] = PerProcess()
    with pytest.raises(ZeroDivisionError) as caught:
        value.get(lambda: 1 // 0)
    assert caught.value.__context__ is None
    assert value.get(lambda: 5) == 5


def test_a_child_makes_its_own_and_closes_nothing_else() -> None:
    closed: list[str] = []
    value = PerProcess(closed.append)
    value.get(lambda: "parent's")
    value.lock.acquire()  # as a thread may that the child does not have

    def child() -> Any:
        held = []
        other = threading.Thread(target=lambda: held.append(value.lock.acquire(timeout=60)))
        other.start()
        other.join()
        value.lock = threading.RLock()
        value.close()
        found = bool(value), held, value.get(lambda: "child's")
        value.close()
        return *found, closed

    assert in_a_fork(child) == (False, [True], "child's", ["child's"])
    value.lock.release()
    assert value.get(lambda: "another") == "parent's"
    assert closed == []


def test_a_copy_has_nothing() -> None:
    value: PerProcess[int] = PerProcess()
    value.get(lambda: 1)
    assert not pickle.loads(pickle.dumps(value))


def test_what_is_lent_is_lent_anew_in_a_child() -> None:
    shared: Shared[str] = Shared(lambda thing: None)
    with shared.lend("key", lambda: "parent's"), shared.lend("key", lambda: "another") as thing:
        assert thing == "parent's"
        assert len(shared) == 1

        def child() -> Any:
            before = len(shared)
            with shared.lend("key", lambda: "child's") as own:
                return before, own

        assert in_a_fork(child) == (0, "child's")
    assert len(shared) == 0


def test_a_child_has_threads_of_its_own() -> None:
    assert list(map_ahead(abs, [-1])) == [1]
    assert in_a_fork(lambda: list(map_ahead(abs, [-1, -2]))) == [1, 2]


def test_in_order_and_not_far_ahead() -> None:
    begun: list[int] = []

    def do(number: int) -> int:
        begun.append(number)
        return number

    with closing(map_ahead(do, range(1000), ahead=5)) as found:
        assert [next(found) for _ in range(3)] == [0, 1, 2]
    assert len(begun) <= 3 + 5
    assert list(map_ahead(str, range(100), ahead=0)) == list(map(str, range(100)))


def test_an_error_ends_it() -> None:
    found = map_ahead(lambda number: 1 // (2 - number), range(100))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_threads_of_the_pool_do_not_wait_for_each_other() -> None:
    def inner(_: int) -> int:
        seen: list[int] = []
        run_all(seen.append, range(3))
        return sum(map_ahead(abs, seen))

    def outer(number: int) -> int:
        return sum(map_ahead(inner, range(number, number + 20)))

    assert list(map_ahead(outer, range(100))) == [60] * 100

"""Values of one process are made anew in a forked child, and its parent's are left alone."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.shared import Shared
from intake_bluesky.runtime.threads import POOL, THREADS, WAITING, run_all


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


def slowly(do: Callable[[int], object]) -> Callable[[int], None]:
    """As files of a server are read: with waiting, so that threads of the pool take part."""

    def wait(number: int) -> None:
        time.sleep(2 * WAITING)
        do(number)

    return wait


def test_a_child_has_threads_of_its_own() -> None:
    def names() -> set[str]:
        seen: set[str] = set()
        run_all(slowly(lambda _: seen.add(threading.current_thread().name)), range(3 * THREADS))
        return seen

    assert len(names()) > 1
    assert len(in_a_fork(names)) > 1


def test_an_error_ends_it() -> None:
    begun: list[int] = []
    with pytest.raises(ZeroDivisionError):
        run_all(slowly(lambda number: begun.append(1 // (50 - number))), range(1000))
    assert len(begun) < 100


def test_threads_of_the_pool_do_not_wait_for_each_other() -> None:
    seen: list[int] = []
    run_all(slowly(lambda _: run_all(slowly(seen.append), range(3))), range(10 * POOL))
    assert len(seen) == 3 * 10 * POOL

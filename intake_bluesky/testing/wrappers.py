"""The conformance suite of stores that are made of another: they pass on whatever they do not change."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import pytest

from intake_bluesky.assets import AssetOptions
from intake_bluesky.documents import DatumPage
from intake_bluesky.query import ALL, Path, Start
from intake_bluesky.storage import ALL_RUNS, Order, Origin, Plan, Problem, RunStore, WrapperStore
from intake_bluesky.testing.differences import first_difference
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.plain_runs import count

__all__ = ["CONTRACT", "WrapperTests"]

OLDEST: Final = Plan(Start("plan_name") == "count", order=Order.OLDEST)
KEY: Final = Path("start", ("plan_name",))
CONTRACT: Final[Mapping[str, tuple[tuple[Any, ...], Mapping[str, Any]]]] = {
    "answers": ((Start("plan_name") == "count",), {}),
    "arrays": (("uid", "primary"), {}),
    "close": ((), {}),
    "complete_documents": (("uid",), {}),
    "count": ((OLDEST,), {}),
    "datum_pages": (("uid", "resource"), {}),
    "distinct": ((KEY, OLDEST), {}),
    "check_writable": ((), {}),
    "document": (("uid", "annotations"), {}),
    "documents": (("uid",), {}),
    "event_pages": (("uid", "primary"), {"data": ("x",), "timestamps": ("y",), "events": slice(1, 2)}),
    "find": ((OLDEST,), {"offset": 1, "limit": 2}),
    "find_datums": ((["resource/0"],), {}),
    "header": (("uid",), {}),
    "insert": (({"uid": "new", "time": 1.0},), {}),
    "insert_runs": (([[("start", {"uid": "new", "time": 1.0})]],), {}),
    "lookup": (((KEY,), OLDEST), {}),
    "plan": ((ALL, Order.OLDEST), {}),
    "problems": ((), {}),
    "read_ahead": ((("uid",),), {}),
    "refresh": ((), {"deep": True}),
    "remove": (("uid",), {"permanent": True}),
    "server_plan": ((OLDEST,), {}),
}
"""Every method of `RunStore`, with arguments that are no defaults."""
ANSWERS: Final = (
    "array_place", "cache_key", "exact_documents", "folder", "ordered", "shared_statistics", "statistics",
    "trusts_paths", "ttl", "writable",
)  # fmt: skip
"""Every answer of `RunStore` that takes no arguments."""


class _Recording(WrapperStore):
    """A store that records how its methods were called, and whose answers no other store gives."""

    def __init__(self) -> None:
        super().__init__(MemoryStore([count()]))
        self.called: dict[str, dict[str, Any]] = {}

    # Not `__getattr__`, which is called only for what is lacking: `RunStore` has defaults for all of these.
    def __getattribute__(self, name: str) -> Any:
        if name not in CONTRACT:
            return f"the answer to {name}" if name in ANSWERS else object.__getattribute__(self, name)
        inner, called = (object.__getattribute__(self, own) for own in ("inner", "called"))

        def method(*arguments: Any, **options: Any) -> Any:
            called[name] = _bound(name, arguments, options)
            return _result(name, inner)

        return method


def _bound(name: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by their names, whichever way they were given."""
    bound = inspect.signature(getattr(RunStore, name)).bind(None, *arguments, **options)
    bound.apply_defaults()
    return {key: value for key, value in bound.arguments.items() if key != "self"}


def _result(name: str, store: RunStore) -> Any:
    """The result of a method: that of the one run, where a wrapper may look into it."""
    [run] = store.find()
    results: Mapping[str, Callable[[], Any]] = {
        "answers": lambda: True,
        "count": lambda: 41,
        "find": store.find,
        "header": lambda: store.header(run.uid),
        "documents": lambda: store.documents(run.uid),
        "complete_documents": lambda: store.complete_documents(run.uid),
        "read_ahead": lambda: store.read_ahead([run.uid]),
        "plan": lambda: OLDEST,
        "event_pages": lambda: iter(("a page",)),
        "datum_pages": lambda: iter((DatumPage("resource", ["resource/0"], {"frame": [0]}),)),
        "find_datums": lambda: iter((({"uid": "resource"}, DatumPage("resource", ["resource/0"], {"frame": [0]})),)),
        "problems": lambda: (Problem("here", "a problem"),),
    }
    return results[name]() if name in results else f"the result of {name}"


def _listed(result: Any) -> Any:
    return list(result) if isinstance(result, Iterator) else result


class WrapperTests:
    """Each method of the contract reaches the store behind a wrapper, and so does each answer.

    A subclass makes its wrapper, and names the methods that this implements itself::

        class TestMyStore(WrapperTests):
            CHANGES = frozenset({"find"})

            def wrap(self, inner):
                return MyStore(inner)

    What is in `CHANGES` needs tests of its own.
    """

    CHANGES: ClassVar[frozenset[str]] = frozenset()
    """Names of methods and answers that are the wrapper's own."""

    def wrap(self, inner: RunStore) -> RunStore:
        """Make a wrapper around a store, which does as little as it can."""
        raise NotImplementedError(f"{type(self).__name__}.wrap has to make the wrapper that is tested")

    def test_the_contract_is_known_whole(self) -> None:
        """A method that joins the contract has to join this suite."""
        assert sorted({*CONTRACT, *ANSWERS}) == sorted(name for name in vars(RunStore) if not name.startswith("_"))
        unknown = sorted(self.CHANGES - {*CONTRACT, *ANSWERS})
        assert not unknown, f"CHANGES names what is not in the contract: {unknown}"

    @pytest.mark.parametrize("name", sorted(CONTRACT))
    def test_a_method_reaches_the_store_behind(self, name: str) -> None:
        if name in self.CHANGES:
            return
        inner = _Recording()
        arguments, options = CONTRACT[name]
        # A generator calls the store behind when its first item is taken.
        result = _listed(getattr(self.wrap(inner), name)(*arguments, **options))
        assert name in inner.called, f"{name}() of the wrapper does not ask the store behind it"
        asked, expected = inner.called[name], _bound(name, arguments, options)
        assert asked == expected, f"{name}() loses arguments on the way: {first_difference(asked, expected)}"
        if name not in ("close", "refresh", "remove"):  # which give nothing back
            behind = _listed(_result(name, inner.inner))
            assert result == behind, f"{name}() loses the result on the way: {first_difference(result, behind)}"

    @pytest.mark.parametrize("name", ANSWERS)
    def test_an_answer_is_that_of_the_store_behind(self, name: str) -> None:
        if name not in self.CHANGES:
            answer = getattr(self.wrap(_Recording()), name)
            assert answer == f"the answer to {name}", f"{name} is the wrapper's own: pass it on, or put it into CHANGES"

    def test_an_origin_passes_through(self) -> None:
        """Runs of several catalogs may be among those of the store behind."""
        origin = Origin(MemoryStore(), AssetOptions(trusted=False))
        wrapped = self.wrap(_Stamped(MemoryStore([count()]), origin))
        [run] = wrapped.find()
        assert run.origin is origin, "find() of the wrapper loses `origin`: change a run with dataclasses.replace"
        assert wrapped.header(run.uid).origin is origin, "header() of the wrapper loses `origin`"


class _Stamped(WrapperStore):
    """A store whose runs come from elsewhere."""

    def __init__(self, inner: RunStore, origin: Any) -> None:
        super().__init__(inner)
        self.origin = origin

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[Any]:
        return (replace(run, origin=self.origin) for run in self.inner.find(plan, offset=offset, limit=limit))

    def header(self, uid: str) -> Any:
        return replace(self.inner.header(uid), origin=self.origin)

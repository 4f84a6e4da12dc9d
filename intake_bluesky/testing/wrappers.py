"""The conformance suite of stores that are made of another: they pass on whatever they do not change."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import pytest

from intake_bluesky.assets import AssetOptions
from intake_bluesky.query import ALL, Path, Start
from intake_bluesky.storage import ALL_RUNS, Order, Origin, Plan, RunStore, WrapperStore
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.plain_runs import count

__all__ = ["CONTRACT", "WrapperTests"]

CONTRACT: Final[Mapping[str, tuple[Any, ...]]] = {
    "answers": (Start("plan_name") == "count",),
    "arrays": ("uid", "primary"),
    "close": (),
    "count": (ALL_RUNS,),
    "datum_pages": ("uid", "resource"),
    "distinct": (Path("start", ("plan_name",)), ALL_RUNS),
    "document": ("uid", "annotations"),
    "documents": ("uid",),
    "event_pages": ("uid", "primary"),
    "find": (ALL_RUNS,),
    "header": ("uid",),
    "insert": ({"uid": "new", "time": 1.0},),
    "lookup": ((Path("start", ("plan_name",)),), ALL_RUNS),
    "plan": (ALL, Order.NEWEST),
    "problems": (),
    "read_ahead": (("uid",),),
    "refresh": (),
    "remove": ("uid",),
    "server_plan": (Plan(),),
}
"""Every method of `RunStore`, with arguments."""
ANSWERS: Final = (
    "cache_key", "exact_documents", "ordered", "shared_statistics", "statistics", "trusts_paths", "ttl", "writable",
)  # fmt: skip
"""Every answer of `RunStore` that takes no arguments."""


class _Recording(WrapperStore):
    """A store that records which of its methods were called, and whose answers no other store gives."""

    def __init__(self) -> None:
        super().__init__(MemoryStore([count()]))
        self.called: list[str] = []

    # Not `__getattr__`, which is called only for what is lacking: `RunStore` has defaults for all of these.
    def __getattribute__(self, name: str) -> Any:
        if name in CONTRACT:
            object.__getattribute__(self, "called").append(name)
            uid = next(iter(object.__getattribute__(self, "inner").find())).uid
            return lambda *arguments, **options: _answer(name, uid)
        return f"the answer to {name}" if name in ANSWERS else object.__getattribute__(self, name)


def _answer(name: str, uid: str) -> Any:
    """The result of a method: that of the one run, where a wrapper may look into it."""
    store = MemoryStore([count()])
    answers: Mapping[str, Callable[[], Any]] = {
        "find": store.find,
        "header": lambda: store.header(uid),
        "documents": lambda: store.documents(uid),
        "read_ahead": lambda: store.read_ahead([uid]),
        "plan": Plan,
        "event_pages": lambda: iter(()),
        "datum_pages": lambda: iter(()),
    }
    return answers[name]() if name in answers else None


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

    @abstractmethod
    def wrap(self, inner: RunStore) -> RunStore:
        """Make a wrapper around a store, which does as little as it can."""

    def test_the_contract_is_known_whole(self) -> None:
        """A method that joins the contract has to join this suite."""
        assert sorted({*CONTRACT, *ANSWERS}) == sorted(name for name in vars(RunStore) if not name.startswith("_"))

    @pytest.mark.parametrize("name", sorted(CONTRACT))
    def test_a_method_reaches_the_store_behind(self, name: str) -> None:
        if name in self.CHANGES:
            return
        inner = _Recording()
        result = getattr(self.wrap(inner), name)(*CONTRACT[name])
        # A generator calls the store behind when its first item is taken.
        if isinstance(result, Iterator):
            list(result)
        assert name in inner.called, f"{name}() of the wrapper does not ask the store behind it"

    @pytest.mark.parametrize("name", ANSWERS)
    def test_an_answer_is_that_of_the_store_behind(self, name: str) -> None:
        if name not in self.CHANGES:
            assert getattr(self.wrap(_Recording()), name) == f"the answer to {name}"

    def test_an_origin_passes_through(self) -> None:
        """Runs of several catalogs may be among those of the store behind."""
        origin = Origin(MemoryStore(), AssetOptions(trusted=False))
        wrapped = self.wrap(_Stamped(MemoryStore([count()]), origin))
        [run] = wrapped.find()
        assert run.origin is origin
        assert wrapped.header(run.uid).origin is origin


class _Stamped(WrapperStore):
    """A store whose runs come from elsewhere."""

    def __init__(self, inner: RunStore, origin: Any) -> None:
        super().__init__(inner)
        self.origin = origin

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[Any]:
        return (replace(run, origin=self.origin) for run in self.inner.find(plan, offset=offset, limit=limit))

    def header(self, uid: str) -> Any:
        return replace(self.inner.header(uid), origin=self.origin)

"""The experiments of the demonstration, run by a bluesky RunEngine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky import plans as bp
from bluesky import preprocessors as bpp
from bluesky.utils import RunEngineInterrupted

from intake_bluesky.apps.demo.beamline import Beamline, build_beamline

__all__ = ["TEMPERATURES", "Experiments", "Runs", "run_engine"]

Plan: TypeAlias = Generator[Any, Any, Any]
Runs: TypeAlias = Mapping[str, tuple[str, ...]]
"""Name of an experiment to the uids of its runs."""

TEMPERATURES: Final = (150.0, 225.0, 300.0, 375.0, 450.0)  # kelvin
IMAGES: Final = 16
SCAN_POINTS: Final = 41
GRID_POINTS: Final = 25


@contextmanager
def run_engine(metadata: Mapping[str, Any]) -> Iterator[RunEngine]:
    """A RunEngine whose event loop ends with the context; it prints nothing and handles no signals."""
    # bluesky's default is a handler of Ctrl-C, which pauses a plan instead of ending the program.
    engine = RunEngine(dict(metadata), context_managers=[])
    try:
        yield engine
    finally:
        loop = engine.loop
        # The loop runs in a thread of the RunEngine, which has no method to end it: only that thread may stop it, and a
        # loop that runs cannot be closed.
        loop.call_soon_threadsafe(loop.stop)
        while loop.is_running():
            time.sleep(0.001)
        loop.close()


@dataclass(frozen=True, slots=True)
class Experiments:
    """Runs the experiments one after the other; detectors write into the folder.

    Attributes
    ----------
    say : callable
        Called with a sentence about each experiment as it begins.
    scan_id : int
        The highest scan_id there is already.
    grid_points : int
        Along each side of the grid.
    """

    folder: Path
    writer: Callable[[str, dict[str, Any]], Any]
    say: Callable[[str], None] = field(default=lambda text: None)
    scan_id: int = 0
    grid_points: int = GRID_POINTS

    def run(self) -> Runs:
        """Run all of them."""
        with run_engine({"scan_id": self.scan_id, "beamline": "demo"}) as engine:
            engine.subscribe(self.writer)
            beamline = build_beamline(self.folder)
            extra = bpp.SupplementalData(
                baseline=[beamline.temperature, beamline.slit], monitors=[beamline.ring_current]
            )
            engine.preprocessors.append(extra)
            return {
                "rocking": self._rocking(engine, beamline),
                "images": self._images(engine, beamline),
                "failed": self._failed(engine, beamline),
                "rewound": self._rewound(engine, beamline),
                "map": self._map(engine, beamline),
            }

    def _rocking(self, engine: RunEngine, on: Beamline) -> tuple[str, ...]:
        self.say(f"{len(TEMPERATURES)} rocking curves of a crystal, each warmer (plan scan; baseline, monitor)")

        def curves() -> Plan:
            for kelvin in TEMPERATURES:
                yield from bps.mv(on.temperature, kelvin)
                axis = (on.theta, -1, 1, SCAN_POINTS)
                yield from bp.scan([on.diode], *axis, per_step=_decaying(on), md=_sample("Si (111)"))

        return _uids(engine(curves()))

    def _images(self, engine: RunEngine, on: Beamline) -> tuple[str, ...]:
        self.say(f"{IMAGES} images of a powder that changes phase (plan count, a NumPy file an image)")
        return _uids(engine(bp.count([on.img], IMAGES, md=_sample("CsPbI3"))))

    def _failed(self, engine: RunEngine, on: Beamline) -> tuple[str, ...]:
        self.say("a scan that fails half way: the shutter closes")
        uids: list[str] = []
        # A plan that fails returns no uids, so they are taken from the start documents.
        token = engine.subscribe(lambda name, doc: uids.append(doc["uid"]), "start")
        axis = (on.theta, -1, 1, 11)
        try:
            with _unlogged():
                engine(bp.scan([on.diode], *axis, per_step=_closing(on, 0.0), md=_sample("Si (111)")))
        except ShutterClosed:
            pass
        finally:
            engine.unsubscribe(token)
        return tuple(uids)

    def _rewound(self, engine: RunEngine, on: Beamline) -> tuple[str, ...]:
        self.say("a scan that is paused and goes on from its last checkpoint: some events are taken twice")
        try:
            engine(_paused(on))
        except RunEngineInterrupted:
            return _uids(engine.resume())
        raise RuntimeError("the plan was to pause and did not")

    def _map(self, engine: RunEngine, on: Beamline) -> tuple[str, ...]:
        n = self.grid_points
        self.say(f"a map of {n} x {n} points, an image each (plan grid_scan, one HDF5 file)")

        def plan() -> Plan:
            yield from bps.mv(on.stage.x.velocity, 0, on.stage.y.velocity, 0)  # 0: moves take no time
            axes = (on.stage.y, -3.5, 3.5, n, on.stage.x, -3.5, 3.5, n)
            yield from bp.grid_scan([on.blob], *axes, md=_sample("lysozyme"))

        return _uids(engine(plan()))


class ShutterClosed(RuntimeError):
    """The error of the scan that fails."""


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep bluesky from logging a failure, with its traceback, that the demonstration wants."""
    logger = logging.getLogger("bluesky")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def _uids(started: Any) -> tuple[str, ...]:
    """The uids that a RunEngine gives when it is done."""
    return tuple(started)


def _sample(name: str) -> dict[str, Any]:
    return {"sample": {"name": name}}


def _decaying(on: Beamline) -> Callable[..., Plan]:
    """A step of a scan in which the ring's current falls; a monitor of it records the new value."""

    def one_point(detectors: Any, motor: Any, step: float) -> Plan:
        on.ring_current.put(on.ring_current.get() * 0.9998)
        yield from bps.one_1d_step(detectors, motor, step)

    return one_point


def _closing(on: Beamline, limit: float) -> Callable[..., Plan]:
    """A step of a scan that fails past `limit`."""

    def one_point(detectors: Any, motor: Any, step: float) -> Plan:
        if step > limit:
            raise ShutterClosed("the shutter closed: beam lost")
        yield from bps.one_1d_step(detectors, motor, step)

    return one_point


def _paused(on: Beamline) -> Plan:
    """Nine points with a checkpoint before the first and the fifth, and a pause after the seventh."""
    metadata = {"plan_name": "careful_scan", "motors": ["theta"], "detectors": ["diode"], **_sample("Si (111)")}
    metadata["hints"] = {"dimensions": [(["theta"], "primary")]}

    def points() -> Plan:
        for number in range(1, 10):
            if number in (1, 5):
                yield from bps.checkpoint()
            yield from bps.mv(on.theta, (number - 5) / 4)
            yield from bps.trigger_and_read([on.diode, on.theta])
            if number == 7:
                yield from bps.pause()

    return (yield from bpp.stage_wrapper(bpp.run_wrapper(points(), md=metadata), [on.diode, on.theta]))

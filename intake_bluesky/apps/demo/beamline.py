"""A simulated beamline: devices of ophyd.sim and ophyd-async, with physics that repeats exactly."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ophyd import Signal
from ophyd.sim import SynAxis, SynSignal, hw
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from ophyd_async.sim import PatternGenerator, SimBlobDetector, SimStage

from intake_bluesky.documents.columns import Array

__all__ = ["Beamline", "build_beamline", "distances", "peak", "powder_rings"]

FRAME: Final = (192, 192)
PHASES: Final = ((26.0, 40.0, 58.0, 72.0), (32.0, 49.0, 65.0, 82.0))  # radii of the rings, pixels
EXPOSURE: Final = 1.0  # seconds; nobody waits for them


@dataclass(frozen=True, slots=True)
class Beamline:
    """The devices of the simulated beamline.

    Attributes
    ----------
    theta : SynAxis
        Angle of the crystal, degrees.
    temperature : SynAxis
        Of the crystal, kelvin; the Bragg peak moves with it.
    slit : SynAxis
        Width of the slit, mm.
    diode : SynSignal
        Counts behind the crystal.
    img : SynSignalWithRegistry
        A camera that writes a NumPy file an image (spec NPY_SEQ).
    ring_current : Signal
        Of the storage ring, mA: read whenever it changes.
    stage : SimStage
        Moves a sample in x and y, mm.
    blob : SimBlobDetector
        A detector that writes HDF5 and announces it by stream resources.
    pattern : PatternGenerator
        The images that `blob` takes.
    """

    theta: Any
    temperature: Any
    slit: Any
    diode: Any
    img: Any
    ring_current: Any
    stage: Any
    blob: Any
    pattern: Any


def peak(theta: float, temperature: float) -> float:
    """Mean counts of the diode, at degrees and kelvin: a Lorentzian that drifts and broadens as the crystal warms.

    Examples
    --------
    >>> peak(0.0, 300.0) > peak(0.5, 300.0)
    True
    """
    centre = 0.002 * (temperature - 300.0)
    width = 0.06 + 0.0002 * (temperature - 100.0)
    return 40.0 + 960.0 * (0.06 / width) / (1.0 + ((theta - centre) / width) ** 2)


def distances(shape: tuple[int, ...]) -> Array:
    """Distance of each pixel of an image from the centre of its rings."""
    rows, columns = np.indices(shape)
    radius: Array = np.hypot(rows - shape[0] * 0.53, columns - shape[1] * 0.47)
    return radius


def powder_rings(number: int) -> Array:
    """One image of the camera, uint16: powder rings, one phase giving way to another from image to image.

    The number of the image is also the seed of its noise.
    """
    radius = distances(FRAME)
    grown = 1.0 / (1.0 + np.exp(-(number - 7.5) / 2.0))
    image = 900.0 * np.exp(-radius / 8.0) + 25.0 * np.exp(-radius / 60.0)
    for phase, weight in ((PHASES[0], 1.0 - grown), (PHASES[1], grown)):
        for order, centre in enumerate(phase, 1):
            image += weight * 120.0 / order**0.5 * np.exp(-(((radius - centre) / 1.6) ** 2))
    image[:, np.abs(np.arange(FRAME[1]) - FRAME[1] * 0.47) < 2.0] = 0.0  # the wire of the beam stop
    counts: Array = np.random.default_rng(number).poisson(image).astype(np.uint16)
    return counts


def build_beamline(folder: Path) -> Beamline:
    """Make the devices, whose detectors write into a folder.

    Needs a RunEngine to exist: ophyd-async's devices live on its event loop.
    """
    theta = SynAxis(name="theta", egu="deg")
    temperature = SynAxis(name="temperature", egu="K", value=300.0)
    slit = SynAxis(name="slit", egu="mm", value=0.2)
    noise = np.random.default_rng(2)
    diode = SynSignal(
        func=lambda: int(noise.poisson(peak(theta.position, temperature.position))),
        name="diode",
        kind="hinted",
    )
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    img = hw(save_path=str(images)).img
    # The number of the image is the seed of its noise, so that each demonstration draws the same picture.
    taken = iter(range(10**9))
    img.sim_set_func(lambda: powder_rings(next(taken)))
    ring_current = Signal(name="ring_current", value=300.0)
    pattern, stage, blob = _blob_detector(folder / "blobs")
    return Beamline(theta, temperature, slit, diode, img, ring_current, stage, blob, pattern)


def _blob_detector(folder: Path) -> tuple[Any, Any, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    pattern = PatternGenerator(sleep=_at_once)
    pattern.setup_acquisition_parameters(exposure=EXPOSURE, period=EXPOSURE, number_of_frames=1)
    with init_devices():
        stage = SimStage(pattern)
        blob = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), folder), pattern)
    return pattern, stage, blob


async def _at_once(seconds: float) -> None:
    """Instead of the exposure: only let the event loop go round."""
    await asyncio.sleep(0)

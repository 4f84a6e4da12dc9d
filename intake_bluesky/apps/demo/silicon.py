"""What is measured: silicon powder on a hot stage, its rings on an area detector, and how they become a pattern.

Nothing here is of the simulation that the demonstration compares with. Intensities are of measured structure factors,
lattice parameters of measured expansion; angles of pixels are pyFAI's.
"""

from __future__ import annotations

import logging
from functools import cache
from math import sqrt
from typing import Any, Final

import numpy as np
import xarray as xr

from intake_bluesky.documents.columns import Array

__all__ = ["RANGE", "WAVELENGTH", "integrated", "lattice_parameter", "rings"]

WAVELENGTH: Final = 0.4
"""Of the beam, angstrom."""
RANGE: Final = (6.0, 21.0)
"""Degrees of 2 theta that all directions of the detector have."""
SHAPE: Final = (512, 512)
PIXEL: Final = 172e-6  # m, of a Pilatus
DISTANCE: Final = 0.30  # m
CORNER: Final = 0.004  # m, of the beam from the corner of the detector
WIDTH: Final = 0.06  # degrees, half of the width of a ring at half of its height

STRUCTURE_FACTORS: Final = {
    (1, 1, 1): 10.6025, (2, 2, 0): 8.3881, (3, 1, 1): 7.6814, (4, 0, 0): 6.9958, (3, 3, 1): 6.7264,
    (4, 2, 2): 6.1123, (3, 3, 3): 5.7806, (5, 1, 1): 5.7906, (4, 4, 0): 5.3324,
}  # fmt: skip
"""Electrons an atom, measured by Pendellösung fringes: Saka and Kato, Acta Crystallographica A 42 (1986) 469."""
MULTIPLICITIES: Final = {
    (1, 1, 1): 8, (2, 2, 0): 12, (3, 1, 1): 24, (4, 0, 0): 6, (3, 3, 1): 24, (4, 2, 2): 24, (3, 3, 3): 8,
    (5, 1, 1): 24, (4, 4, 0): 12,
}  # fmt: skip


def lattice_parameter(kelvin: float) -> float:
    """The edge of silicon's unit cell, angstrom, from 120 to 1500 K.

    As measured by Okada and Tokumaru, Journal of Applied Physics 56 (1984) 314; 5.43102 angstrom at 298.2 K.

    Examples
    --------
    >>> round(lattice_parameter(298.2), 5), round(lattice_parameter(900), 4)
    (5.43102, 5.4431)
    """
    kelvins = np.linspace(298.2, kelvin, 400)
    expansion = (3.725 * (1 - np.exp(-5.88e-3 * (kelvins - 124))) + 5.548e-4 * kelvins) * 1e-6
    return 5.43102 * float(np.exp(np.trapezoid(expansion, kelvins)))


@cache
def _detector() -> Any:
    logging.getLogger("silx.opencl").setLevel(logging.ERROR)  # it warns that there is no pyopencl, which nobody needs
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    detector = Detector(PIXEL, PIXEL, max_shape=SHAPE)
    return AzimuthalIntegrator(
        dist=DISTANCE, poni1=CORNER, poni2=CORNER, detector=detector, wavelength=WAVELENGTH * 1e-10
    )


def rings(kelvin: float, number: int) -> Array:
    """One image at a temperature, uint16; the number of the image is the seed of its noise."""
    angles = np.linspace(0.0, 35.0, 20_000)  # beyond the corners of the detector
    profile = 4.0 + 20.0 * np.exp(-angles / 6.0)
    for hkl, factor in STRUCTURE_FACTORS.items():
        square = sum(index * index for index in hkl)
        # Of eight atoms a cell: all in phase, or half of them a quarter of a wave behind.
        electrons = 8 * factor if square % 2 == 0 else 4 * sqrt(2) * factor
        theta = np.arcsin(WAVELENGTH * sqrt(square) / 2 / lattice_parameter(kelvin))
        lorentz = 1 / (np.sin(theta) * np.sin(2 * theta))
        apart = (angles - 2 * np.degrees(theta)) / WIDTH
        line = 0.8 * np.exp(-np.log(2) * apart**2) + 0.2 / (1 + apart**2)
        profile += 4e-4 * MULTIPLICITIES[hkl] * electrons**2 * lorentz * line
    image = np.interp(_angles(), angles, profile)
    counts: Array = np.random.default_rng(number).poisson(image).astype(np.uint16)
    return counts


@cache
def _angles() -> Array:
    """Of each pixel, degrees of 2 theta."""
    found: Array = np.degrees(_detector().center_array(unit="2th_rad"))
    return found


def integrated(image: Array) -> xr.Dataset:
    """The pattern of an image: intensity ``I`` over ``tth``, degrees, by pyFAI."""
    found = _detector().integrate1d(image, 1500, unit="2th_deg", radial_range=RANGE)
    angles = {"tth": ("tth", found.radial, {"units": "deg", "long_name": "2 theta"})}
    return xr.Dataset({"I": ("tth", found.intensity, {"long_name": "intensity"})}, angles)

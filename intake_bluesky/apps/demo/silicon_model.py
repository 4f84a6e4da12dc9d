"""What is simulated: powder patterns of silicon for lattice parameters, by Dans-Diffraction."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Final

import numpy as np
import xarray as xr

from intake_bluesky.documents.columns import Array

__all__ = ["LATTICE_PARAMETERS", "sweep"]

LATTICE_PARAMETERS: Final = tuple(round(5.424 + 0.001 * step, 3) for step in range(27))
"""Angstrom."""
WIDTH: Final = 0.052  # degrees, the standard deviation of a line


def sweep(wavelength: float, angles: tuple[float, float]) -> xr.Dataset:
    """Compute the pattern for each lattice parameter.

    Atomic scattering factors, structure factors, multiplicities and angles are Dans-Diffraction's; lines are Gaussian.

    Parameters
    ----------
    wavelength : float
        Angstrom.
    angles : (float, float)
        Degrees of 2 theta that the patterns reach beyond on both sides.

    Returns
    -------
    xarray.Dataset
        ``I`` of dimensions ``a`` (angstrom) and ``tth`` (degrees).
    """
    energy = 12.398419843 / wavelength  # keV
    with contextlib.redirect_stdout(io.StringIO()):  # which it writes to as it works
        crystal = _silicon(energy)
        tth = np.arange(angles[0] - 1, angles[1] + 1, 0.005)
        families = _reflections(crystal, energy, tth[-1] + 1)
        patterns = [_pattern(crystal, edge, families, energy, tth) for edge in LATTICE_PARAMETERS]
    return xr.Dataset(
        {"I": (("a", "tth"), np.array(patterns), {"long_name": "intensity"})},
        {
            "a": ("a", np.array(LATTICE_PARAMETERS), {"units": "angstrom", "long_name": "lattice parameter"}),
            "tth": ("tth", tth, {"units": "deg", "long_name": "2 theta"}),
        },
        {"wavelength": wavelength, "material": "Si"},
    )


def _silicon(energy: float) -> Any:
    import Dans_Diffraction

    crystal = Dans_Diffraction.Crystal()
    crystal.Cell.latt(5.431)
    crystal.Symmetry.load_spacegroup(227)
    crystal.Atoms.changeatom(0, label="Si1", type="Si", u=0.125, v=0.125, w=0.125)
    crystal.generate_structure()
    crystal.Scatter.setup_scatter(scattering_type="xray", energy_kev=energy)
    return crystal


def _reflections(crystal: Any, energy: float, angle: float) -> tuple[Array, Array]:
    """One reflection of each family, and how many are in it."""
    every = crystal.Cell.all_hkl(energy_kev=energy, max_angle=angle)
    hkl, _ = crystal.Scatter.powder_correction(every, crystal.Scatter.intensity(every))
    there = (crystal.Scatter.intensity(hkl) > 1e-3) & hkl.any(axis=1)  # not the beam itself
    return hkl[there], crystal.Symmetry.reflection_multiplyer(hkl[there])


def _pattern(crystal: Any, edge: float, families: tuple[Array, Array], energy: float, tth: Array) -> Array:
    hkl, weights = families
    crystal.Cell.latt(edge)
    lines = crystal.Scatter.intensity(hkl) * weights / crystal.Cell.Qmag(hkl) ** 2
    apart = (tth - crystal.Cell.tth(hkl, energy)[:, np.newaxis]) / WIDTH
    pattern: Array = lines @ np.exp(-(apart**2) / 2)
    return pattern

"""Runs of bluesky's plans on simulated devices."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ophyd.sim import hw

from intake_bluesky.apps.demo.experiments import run_engine
from intake_bluesky.testing.examples import Run


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Run]]:
    """Runs a plan on simulated motors, all at 0.3, and gives the documents of its run."""
    devices = hw(save_path=str(tmp_path_factory.mktemp("images")))
    with run_engine({}) as engine:

        def measure(plan: Callable[[Any], Any]) -> Run:
            documents: Run = []
            token = engine.subscribe(lambda name, doc: documents.append((name, copy.deepcopy(doc))))
            for motor in (devices.motor1, devices.motor2, devices.motor3):
                motor.set(0.3)
            engine(plan(devices))
            engine.unsubscribe(token)
            return documents

        yield measure

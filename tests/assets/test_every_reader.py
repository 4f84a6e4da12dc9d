"""Every reader against the conformance suite."""

from __future__ import annotations

from intake_bluesky.testing.readers import ReaderTests
from tests.assets.formats import FORMATS


class TestEveryReader(ReaderTests):
    formats = FORMATS

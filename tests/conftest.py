"""What all tests share: hypothesis's profiles, and servers that start when they are asked for."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.servers.mongo import database, database_uri, mongo_client, mongodb  # noqa: F401  # fixtures
from tests.servers.postgres import postgres  # noqa: F401  # a fixture of all tests

SLOW = [HealthCheck.too_slow]
# Two shared cores and a cold cache make any deadline a coin toss, and drawing slow. `make test-all` takes "long".
settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, print_blob=True, suppress_health_check=SLOW)
settings.register_profile("long", deadline=None, max_examples=200, print_blob=True, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

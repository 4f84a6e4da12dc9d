"""What all tests share: hypothesis's profiles, and servers that start when they are asked for."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.servers.azure import azure_container  # noqa: F401  # a fixture of all tests
from tests.servers.gcs import google_bucket  # noqa: F401  # a fixture of all tests
from tests.servers.mongo import database, database_uri, mongo_client, mongodb  # noqa: F401  # fixtures
from tests.servers.postgres import postgres  # noqa: F401  # a fixture of all tests
from tests.servers.proxy import proxied, proxy  # noqa: F401  # and this
from tests.servers.s3 import buckets  # noqa: F401  # and this

# Two shared cores and a cold cache make any deadline a coin toss, and drawing slow. What decides whether a change is
# taken draws the same examples each time, in `make test-all` eight times as many as in `make test`. `make fuzz` draws
# others, at length.
settings.register_profile("dev", deadline=None, max_examples=25)
checks = settings(
    deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile("ci", checks, max_examples=25)
settings.register_profile("long", checks, max_examples=200)
settings.register_profile("fuzz", checks, max_examples=500, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

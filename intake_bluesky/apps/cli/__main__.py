"""``python -m intake_bluesky.apps.cli``."""

from __future__ import annotations

import sys

from intake_bluesky.apps.cli.commands import main

sys.exit(main())

"""``python -m intake_bluesky.cli``."""

from __future__ import annotations

import sys

from intake_bluesky.cli.commands import main

sys.exit(main())

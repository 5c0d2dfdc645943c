"""``python -m models_app.agent``: the agent alone, with nothing of the panel installed."""

from __future__ import annotations

import sys

from models_app.agent.command import main

sys.exit(main())

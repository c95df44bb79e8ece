"""Lets the tests import `bench`, which is not installed. Last on the path: the installed aegis_store stays the one tested."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

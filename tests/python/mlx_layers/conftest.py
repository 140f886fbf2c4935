"""MLX is part of what is tested: where it has wheels, a test run without it fails."""

from __future__ import annotations

import sys

collect_ignore_glob = ["test_*.py"] if sys.platform == "win32" else []

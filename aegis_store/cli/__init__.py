"""The command line: `aegis`, one file a verb.

What is heavy is imported when a verb runs, so that `aegis --help` answers at once.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run `aegis` with the arguments of this process, and exit with its code."""
    try:
        from aegis_store.cli.app import run

        run()
    except KeyboardInterrupt:
        # Before or after a verb; a verb says so itself. 130 is 128 + SIGINT, as shells count.
        sys.stderr.write("aegis: interrupted\n")
        sys.exit(130)

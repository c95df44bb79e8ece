"""The command line: `aegis`, one file a verb.

What is heavy is imported when a verb runs, so that `aegis --help` answers at once.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run `aegis` with the arguments of this process, and exit with its code."""
    from aegis_store.cli.app import run

    run()

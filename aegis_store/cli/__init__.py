"""The command line: `aegis`, one file a verb.

What is heavy is imported when a verb runs, so that `aegis --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["main"]

#: 128 + SIGINT, as shells count; `outcome` ends a verb with the same.
_INTERRUPTED: Final = 130


def main() -> None:
    """Run `aegis` with the arguments of this process, and exit with its code."""
    code: object = 0
    try:
        from aegis_store.cli.app import run

        run()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except SystemExit as end:
        code = end.code
    if code == _INTERRUPTED:
        sys.stderr.write("aegis: interrupted\n")
    sys.exit(code)  # type: ignore[arg-type]

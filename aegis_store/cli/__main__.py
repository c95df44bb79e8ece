"""`python -m aegis_store.cli`: the same as `aegis`, for where scripts are not on the path."""

from __future__ import annotations

from aegis_store.cli import main

if __name__ == "__main__":
    main()

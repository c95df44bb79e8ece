"""`python -m aegis_store`: the command line, where the script `aegis` is not on the path."""

from aegis_store.cli import main

if __name__ == "__main__":
    main()

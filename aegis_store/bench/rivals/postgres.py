"""A PostgreSQL server for the time of a measurement: started from what is installed, on 127.0.0.1, in a folder of its own.

It runs with its defaults, which sync each commit, as a user that may do nothing else where we are root; and is stopped by its
process id at the end, however that comes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from aegis_store.bench.rivals.absent import NotHere

NAME: Final = "PostgreSQL"
#: Where Debian's packages put what is not meant to be called by hand.
_DEBIAN: Final = Path("/usr/lib/postgresql")
_REMEDY: Final = "no server is installed: apt-get install postgresql"
#: Who runs it where we are root, whom it refuses.
_USERS: Final = ("postgres", "nobody")
_READY: Final = "database system is ready to accept connections"
STOPPED_WITHIN_SECONDS: Final = 60.0


@contextmanager
def server(place: Path) -> Iterator[str]:
    """A running server in the folder `place`, which is made; what to connect to, as user:…@host:port/database.

    NotHere: there is none to start, or it does not start here."""
    programs = _programs()
    options = _as_somebody(place)
    data = place / "data"
    made = subprocess.run(
        [programs / "initdb", "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-instructions"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    if made.returncode != 0:
        raise NotHere(NAME, f"initdb failed: {made.stderr.strip().splitlines()[-1:] or made.returncode}")
    port = _free_port()
    command = [str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", "-N", "64"]
    running = subprocess.Popen(
        command, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    )
    try:
        _await_ready(running)
        yield f"bench@127.0.0.1:{port}/postgres"
    finally:
        with suppress(ProcessLookupError):
            running.send_signal(signal.SIGINT)  # its fast shutdown: connections are closed
        try:
            running.communicate(timeout=STOPPED_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.communicate()


def _programs() -> Path:
    """The folder with `initdb` and `postgres`, of the newest version that is there."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: (len(path.parts[-3]), path.parts[-3]))
    if not versions:
        raise NotHere(NAME, _REMEDY)
    return versions[-1].parent


def _as_somebody(place: Path) -> dict[str, Any]:
    """How its processes are to be started; makes their folder, in one that was made for the measurement."""
    place.mkdir()
    if os.geteuid() != 0:
        return {}
    for name in _USERS:
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(place, user.pw_uid, user.pw_gid)
            place.parent.chmod(place.parent.stat().st_mode | 0o011)  # made for this measurement, and only passed through
            for above in place.parents:
                if not above.stat().st_mode & 0o001:
                    raise NotHere(NAME, f"{name} may not enter {above}: name another folder with --dir")
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NotHere(NAME, "it does not run as root, and there is no user for it")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _await_ready(running: subprocess.Popen[str]) -> None:
    assert running.stderr is not None
    said = []
    for line in running.stderr:
        if _READY in line:
            return
        said.append(line.strip())
    raise NotHere(NAME, f"the server ended at once: {said[-1:]}")

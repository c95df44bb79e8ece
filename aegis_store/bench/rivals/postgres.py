"""A PostgreSQL server of one's own: Debian's programs, in a folder that is thrown away, on 127.0.0.1 and a port that is free.

It runs as an unprivileged user, for PostgreSQL refuses root, ends with its `with`, by its own process id, and takes nobody's
place: it listens on no socket in the file system, and reads no configuration of the system's.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aegis_store.bench.rivals.absent import NotHere

NAME: Final = "PostgreSQL"
#: Where Debian puts them, a directory for each version; they are not on the path.
DEBIAN: Final = Path("/usr/lib/postgresql")
#: Who runs it where root starts it.
UNPRIVILEGED: Final = ("postgres", "nobody")
SECONDS_MAX: Final = 120
#: A port that was free may be somebody else's when the server asks for it.
ATTEMPTS: Final = 5
_ERROR_LINES: Final = 20


def programs() -> Path:
    """The directory of initdb and postgres, the newest version's. NotHere: there is none."""
    found = [each.parent for each in DEBIAN.glob("*/bin/initdb")] if DEBIAN.is_dir() else []
    if found:
        return max(found, key=lambda each: [int(part) for part in re.findall(r"\d+", each.parent.name)])
    on_path = shutil.which("initdb")
    if on_path is None:
        raise NotHere(NAME, "not installed: apt-get install postgresql")
    return Path(on_path).resolve().parent


@contextmanager
def server(*, synced: bool = True, place: Path | None = None) -> Iterator[str]:
    """A server that is up, as the URL of an empty database of its owner; gone at the end with all that it held.

    Its data lie below `place`, which others must be let through to, or where temporary files do.
    Without `synced` it does not wait for its disk: for tests, which do not measure it. NotHere: it is not installed, or this
    is root and there is no user to run it as.
    """
    bin_ = programs()
    who = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="aegis-postgres-", dir=place))
    try:
        if who is not None:
            os.chown(folder, who.pw_uid, who.pw_gid)
        data = folder / "data"
        _initialize(bin_, data, who)
        with _running(bin_, data, who, synced=synced) as port:
            yield f"postgresql://aegis@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to become; None: nobody, for this is nobody's superuser."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NotHere(NAME, "it does not run as root, and there is no user postgres or nobody")


def _as(who: pwd.struct_passwd | None) -> dict[str, object]:
    return {} if who is None else {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


def _initialize(bin_: Path, data: Path, who: pwd.struct_passwd | None) -> None:
    command = [bin_ / "initdb", "--no-sync", "--auth=trust", "--username=aegis", "--encoding=UTF8", "--locale=C"]
    done = subprocess.run(
        [*map(str, command), f"--pgdata={data}"],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS_MAX,
        cwd="/",
        **_as(who),  # type: ignore[call-overload]
    )
    if done.returncode != 0:
        raise NotHere(NAME, f"initdb failed: {done.stderr.strip()}")


@contextmanager
def _running(bin_: Path, data: Path, who: pwd.struct_passwd | None, *, synced: bool) -> Iterator[int]:
    said: list[str] = []
    for _ in range(ATTEMPTS):
        port = _free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "logging_collector": "off",
            "log_min_messages": "warning",
            "shared_buffers": "32MB",
            "max_connections": "200",
            **({} if synced else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}),
        }
        command = [str(bin_ / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = data.parent / "log"
        with open(log, "w+b") as file:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd="/",
                **_as(who),  # type: ignore[call-overload]
            )
        try:
            if _is_up(bin_, process, port):
                yield port
                return
            said = log.read_text(errors="replace").splitlines()[-_ERROR_LINES:]
        finally:
            _stop(process)
    raise NotHere(NAME, f"it did not start: {' '.join(said)}")


def _is_up(bin_: Path, process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it takes connections; asked again until it does or has ended. `pg_isready` waits for an answer itself."""
    ask = [str(bin_ / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}", "--timeout=5"]
    while process.poll() is None:
        if subprocess.run(ask, check=False, timeout=SECONDS_MAX).returncode == 0:
            return process.poll() is None
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it at once, connections or not; its children end with it."""
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

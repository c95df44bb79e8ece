"""Death at a system call: a process is stopped before each call that changes a file, and killed before the nth of them.

The process has the kernel ask (`ask`) before it does such a call, and hands the asking end to its parent, which answers
(`answer`): go on, until it is the nth one's turn. So the moment of death is a place in the program's work and not a time. A
write may be torn on top: the parent puts the first bytes of it into the file before it kills.

Linux 5.5 and later (seccomp's user notification), x86-64 and 64-bit ARM.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import json
import os
import platform
import random
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

#: Calls that change files, by name, where glibc makes them. `write` counts where it goes to no standard stream, `openat`
#: where it may make a file.
NUMBERS = {
    "x86_64": {
        "write": 1,
        "pwrite64": 18,
        "msync": 26,
        "fsync": 74,
        "fdatasync": 75,
        "ftruncate": 77,
        "rename": 82,
        "mkdir": 83,
        "unlink": 87,
        "openat": 257,
        "mkdirat": 258,
        "unlinkat": 263,
        "renameat": 264,
        "fallocate": 285,
        "pwritev": 296,
        "renameat2": 316,
    },
    "aarch64": {
        "mkdirat": 34,
        "unlinkat": 35,
        "renameat": 38,
        "ftruncate": 46,
        "fallocate": 47,
        "openat": 56,
        "write": 64,
        "pwrite64": 68,
        "pwritev": 70,
        "fsync": 82,
        "fdatasync": 83,
        "msync": 227,
        "renameat2": 276,
    },
}
SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}
#: First argument is a descriptor; second a path, relative to the first; else the first argument is a path.
_BY_DESCRIPTOR = {"write", "pwrite64", "pwritev", "fsync", "fdatasync", "ftruncate", "fallocate"}
_BY_FOLDER = {"openat", "mkdirat", "unlinkat", "renameat", "renameat2"}

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_CALL_AT, _ARGUMENTS_AT = 0, 16  # in struct seccomp_data
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_GO_ON = 1
_QUESTION = struct.Struct("QIIiIQ6Q")
_ANSWER = struct.Struct("QqiI")


class Death(NamedTuple):
    """Before which call a process was killed, on what (the last two names of its path), and how many bytes were put before."""

    call: str
    file: str
    torn: int | None


def ask(into: socket.socket) -> None:
    """From here on every call of this thread, and of those that it starts, that changes a file waits for an answer."""
    numbers = NUMBERS[platform.machine()]
    notify, allow = (_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW)
    program = [(_LOAD, 0, 0, _CALL_AT)]
    for name, number in numbers.items():
        if name == "write":
            program += [
                (_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, _ARGUMENTS_AT),
                (_GREATER, 0, 1, 2),
                notify,
                allow,
            ]
        elif name == "openat":
            flags = _ARGUMENTS_AT + 2 * 8
            program += [
                (_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, flags),
                (_ANY_BIT, 0, 1, os.O_CREAT),
                notify,
                allow,
            ]
        else:
            program += [(_EQUAL, 0, 1, number), notify]
    program.append(allow)
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    memory = ctypes.create_string_buffer(code, len(code))
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(memory)), 16)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    listener = libc.syscall(SECCOMP_CALL[platform.machine()], _SET_MODE_FILTER, _NEW_LISTENER, filters)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    into.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
    os.close(listener)


def fork(work: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
    """A child that does that work, with the asking end, and ends; its pid, and the answering end."""
    answering, asking = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            answering.close()
            work(asking)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    asking.close()
    return pid, answering


def answer(out_of: socket.socket, pid: int, nth: int, dice: random.Random) -> Death | None:
    """Let a child that asks go on until its nth call, and kill it there; None if it ended before."""
    _, descriptors, _, _ = socket.recv_fds(out_of, 1, 1)
    if not descriptors:
        return None  # it ended without having asked
    (listener,) = descriptors
    names = {number: name for name, number in NUMBERS[platform.machine()].items()}
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    count = 0
    try:
        while True:
            ((_, events),) = waiting.poll()
            if not events & select.POLLIN:
                return None  # nobody is left who could ask
            question = bytearray(_QUESTION.size)
            try:
                fcntl.ioctl(listener, _RECEIVE, question)
            except (FileNotFoundError, InterruptedError):
                continue
            identity, _, _, number, _, _, *arguments = _QUESTION.unpack(question)
            count += 1
            if count == nth:
                death = _describe(pid, names[number], arguments, dice)
                os.kill(pid, signal.SIGKILL)
                return death
            try:
                fcntl.ioctl(listener, _SEND, _ANSWER.pack(identity, 0, 0, _GO_ON))
            except FileNotFoundError:
                continue  # killed by somebody else meanwhile
    finally:
        os.close(listener)


def _describe(pid: int, call: str, arguments: list[int], dice: random.Random) -> Death:
    if call in _BY_DESCRIPTOR:
        path = os.readlink(f"/proc/{pid}/fd/{arguments[0]}")
    else:
        path = _text(pid, arguments[1 if call in _BY_FOLDER else 0])
        if call in _BY_FOLDER and not path.startswith("/") and arguments[0] < 1 << 31:
            path = os.path.join(os.readlink(f"/proc/{pid}/fd/{arguments[0]}"), path)
    torn = _tear(pid, arguments, dice) if call == "pwrite64" and dice.random() < 0.7 else None
    return Death(call, "/".join(path.split("/")[-2:]), torn)


def _tear(pid: int, arguments: list[int], dice: random.Random) -> int:
    """Put the first bytes of a write; how many."""
    descriptor, address, length, offset = arguments[:4]
    part = dice.randrange(length + 1)
    with open(f"/proc/{pid}/fd/{descriptor}", "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), _memory(pid, address, part), offset)
    return part


def _text(pid: int, address: int) -> str:
    return _memory(pid, address, 256).split(b"\0")[0].decode(errors="replace")


def _memory(pid: int, address: int, length: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(length)


def deaths(child: Callable[[dict[str, object], socket.socket], None]) -> Iterator[tuple[int, Death | None]]:
    """For each order on stdin, a line of JSON, a child that does it and is killed before its `nth` call: its exit status, and
    how it died (None: it came to its end before)."""
    for line in sys.stdin:
        order = json.loads(line)
        pid, answering = fork(partial(child, order))
        death = answer(answering, pid, order["nth"], random.Random(order["nth"]))
        answering.close()
        yield os.waitpid(pid, 0)[1], death


def serve(child: Callable[[dict[str, object], socket.socket], None]) -> None:
    """The same, told on stdout: `status call file`."""
    for status, death in deaths(child):
        call, file = ("-", "-") if death is None else death[:2]
        os.write(1, f"{status} {call} {file}\n".encode())

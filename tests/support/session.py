"""Runs a program as a user would, in a session of its own, through pipes or on a pseudo-terminal.

At the end nothing of the session is left: what the program itself failed to end is reported, then killed.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support import stacks
from support.places import child_environment

# How long the rest of a session may outlive its leader, and a whole session its Ctrl-C, before it counts as left.
GRACE_S = 30.0
# Opening a terminal makes it the controlling one of a session leader without any: then Ctrl-C typed works.
ON_TERMINAL = """import os, sys
tty = os.open(sys.argv[1], os.O_RDWR)
for fd in (0, 1, 2): os.dup2(tty, fd)
os.execv(sys.argv[2], sys.argv[2:])"""


@dataclass
class Ended:
    """How a program ended. On a terminal stderr is part of stdout, and line ends are \\r\\n as terminals have them."""

    stdout: str
    stderr: str
    returncode: int
    seconds: float
    timed_out: bool = False
    left: list[str] = field(default_factory=list)
    standing: str = ""  # where its threads stood when the time was over

    def check(self) -> Ended:
        """Asserts the usual good end."""
        assert not self.timed_out, f"did not end in {self.seconds:.0f} s\n{self.stdout}\n{self.stderr}\n{self.standing}"
        assert not self.left, f"left processes: {self.left}\n{self.stderr}"
        assert self.returncode == 0, f"exit code {self.returncode}\n{self.stdout}\n{self.stderr}"
        return self


def session_members(sid: int) -> list[int]:
    """Living processes of a session; zombies do not count."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state, _, _, session = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == sid and state not in "ZX":
                found.append(int(name))
    return found


def run(
    argv: Sequence[str | os.PathLike],
    *,
    stdin: str = "",
    tty: bool = False,
    until: Callable[[str], bool] | Sequence[str] | None = None,
    timeout: float = 150,
    cwd: str | os.PathLike | None = None,
    env: dict[str, str] | None = None,
) -> Ended:
    """Runs argv to its end, or with `until` (regular expressions that must all have matched, or a question about
    the output) up to the point where it is true, and then presses Ctrl-C."""
    if until is not None and not callable(until):
        until = _all_match(until)
    started = time.monotonic()
    running = _Running([os.fspath(a) for a in argv], stdin, tty, cwd, child_environment(**(env or {})))
    try:
        timed_out = not running.read(until, started + timeout)
        if until is not None and not timed_out:
            running.press_ctrl_c()
            timed_out = not running.read(None, time.monotonic() + GRACE_S)
        standing = stacks.of(session_members(running.process.pid)) if timed_out else ""
        left = running.finish(0 if timed_out else GRACE_S)
    finally:
        running.destroy()
    out, err = (bytes(b).decode("utf-8", "replace") for b in running.collected)
    return Ended(out, err, running.process.returncode, time.monotonic() - started, timed_out, left, standing)


def _all_match(patterns: Sequence[str]) -> Callable[[str], bool]:
    compiled = [re.compile(pattern, re.MULTILINE) for pattern in patterns]
    return lambda text: all(pattern.search(text) for pattern in compiled)


class _Running:
    def __init__(self, argv: list[str], stdin: str, tty: bool, cwd, env: dict[str, str]) -> None:
        self.collected = (bytearray(), bytearray())
        self.keyboard: int | None = None
        if tty:
            screen, slave = os.openpty()
            launcher = [sys.executable, "-S", "-E", "-c", ON_TERMINAL, os.ttyname(slave)]
            self.process = subprocess.Popen(launcher + argv, cwd=cwd, env=env, start_new_session=True)
            # Kept open until the leader has opened its own: a terminal nobody has open reads as an I/O error.
            self.slave: int | None = slave
            self.readers = {screen: self.collected[0]}
            self.keyboard = screen
            os.write(screen, stdin.encode())
        else:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(
                argv, cwd=cwd, env=env, start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe
            )
            self.slave = None
            self.readers = {
                os.dup(stream.fileno()): buffer
                for stream, buffer in zip((self.process.stdout, self.process.stderr), self.collected, strict=True)
            }
            try:
                self.process.stdin.write(stdin.encode())
                self.process.stdin.close()
            except BrokenPipeError:  # it ended without reading
                pass
            self.process.stdout.close()
            self.process.stderr.close()

    def read(self, until: Callable[[str], bool] | None, deadline: float) -> bool:
        """Collects output until `until` says so or the leader has ended; False when the deadline came first."""
        while True:
            if until is None and self.process.poll() is not None:
                return True
            if until is not None and until(self.collected[0].decode("utf-8", "replace")):
                return True
            if time.monotonic() > deadline or (
                until is not None and self.process.poll() is not None and not self._drain()
            ):
                return False
            self._collect(0.02)

    def press_ctrl_c(self) -> None:
        if self.keyboard is not None:
            os.write(self.keyboard, b"\x03")
        else:
            os.killpg(self.process.pid, signal.SIGINT)

    def finish(self, grace: float) -> list[str]:
        """Waits a moment for the rest of the session; names what stays."""
        deadline = time.monotonic() + grace
        while (pids := session_members(self.process.pid)) and time.monotonic() < deadline:
            self._collect(0.02)
        left = []
        for pid in pids:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            left.append(f"{pid} {command.strip()}")
        return left

    def destroy(self) -> None:
        while pids := session_members(self.process.pid):
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self._collect(0.01)
        self.process.wait()
        while self._drain():
            pass
        for fd in [*self.readers, self.slave]:
            if fd is not None:
                os.close(fd)
        self.readers = {}

    def _collect(self, seconds: float) -> bool:
        if not self.readers:
            time.sleep(seconds)
            return False
        ready = select.select(list(self.readers), [], [], seconds)[0]
        for fd in ready:
            try:
                data = os.read(fd, 65536)
            except OSError:  # the terminal's last user is gone
                data = b""
            if data:
                self.readers[fd] += data
            else:
                del self.readers[fd]
                os.close(fd)
        return bool(ready)

    def _drain(self) -> bool:
        return bool(self.readers) and self._collect(0)

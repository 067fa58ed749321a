"""What the claims of the notes need: a child that reports, and whole programs under either implementation."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from support import launch, session
from support.notebook import with_import_form


class Child:
    """A process running function(*args, **kwargs), whose value comes back through a pipe."""

    def __init__(self, mp, function, *args, kwargs=None, **settings) -> None:
        self.receive, self._send = mp.Pipe(duplex=False)
        self.process = mp.Process(target=_report, args=(self._send, function, args, kwargs or {}), **settings)

    def start(self) -> Child:
        self.process.start()
        self._send.close()  # so that a child that dies without a word is an EOFError
        return self

    def reports_within(self, seconds: float) -> bool:
        return self.receive.poll(seconds)

    def value(self):
        assert self.receive.poll(100), "the child does not report"
        return self.receive.recv()

    def end(self):
        """The value, once the process has ended well."""
        value = self.value()
        self.process.join(100)
        assert self.process.exitcode == 0
        return value


def _report(send, function, args, kwargs) -> None:
    send.send(function(*args, **kwargs))


@pytest.fixture
def child(mp):
    """child(function, *args) starts a Child; what is still running after the test is killed."""
    started = []

    def start(function, *args, **settings) -> Child:
        started.append(Child(mp, function, *args, **settings))
        return started[-1].start()

    yield start
    for one in started:
        if one.process.is_alive():
            one.process.kill()
        one.process.join(100)
        one.process.close()  # pytest keeps the fixture, and with it the process's descriptors, a little longer
        one.receive.close()


@contextmanager
def gate(mp):
    """(wait, release): processes calling wait() stand still until release() was called once."""
    receive, send = mp.Pipe(duplex=False)
    with receive, send:
        yield (lambda: receive.poll(100)), (lambda: send.send(None))


@pytest.fixture
def closed_gate(mp):
    with gate(mp) as pair:
        yield pair


@pytest.fixture
def program(mp, tmp_path):
    """program(text) runs a whole script that imports multiprocessing; under cmp with that line changed."""

    def run(text: str, **how) -> session.Ended:
        script = tmp_path / "program.py"
        way = "import" if mp.__name__ == "cmp" else "stdlib"
        script.write_text(with_import_form(text) if way == "import" else text, encoding="utf-8")
        return session.run(launch.command(way, script), **how)

    return run

"""Pool: how it ends: at exit, at Ctrl-C, while workers are made, while others use it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(90)

BLOCKED = """
import sys, threading, time
import cmp

def nothing(x=0):
    return x

def wait_long(x=0):
    time.sleep(60)

def apply(pool): pool.apply(wait_long)
def map(pool): pool.map(wait_long, range(4))
def imap(pool): list(pool.imap(wait_long, range(4)))
def get(pool): pool.apply_async(wait_long).get()
def join(pool): pool.close(); pool.join()
def call_back(pool): pool.apply_async(nothing, callback=lambda _: time.sleep(60)).get()
def busy(pool):
    while True: pool.map(nothing, range(100))
def busy_with_callbacks(pool):
    while True: pool.apply_async(nothing, callback=lambda _: None).wait()

if __name__ == "__main__":
    pool = cmp.Pool(2)
    began = threading.Barrier(4)
    def use():
        began.wait()
        globals()[sys.argv[1]](pool)
    for _ in range(3):
        threading.Thread(target=use, daemon=True).start()
    began.wait()
    time.sleep(0.1)
    sys.exit(7)
"""


@pytest.mark.parametrize(
    "call", ["apply", "map", "imap", "get", "join", "call_back", "busy", "busy_with_callbacks"]
)
def test_program_ends_silently_under_daemon_threads_in_a_pool_call(call):
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", BLOCKED, call], capture_output=True, text=True, timeout=30)
        assert (ended.returncode, ended.stdout, ended.stderr) == (7, "", "")

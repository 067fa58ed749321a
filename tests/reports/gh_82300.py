"""A process that has only looked at another one's shared memory destroys it when it ends: its resource tracker does.

bpo-38119. From 3.13 on `track=False` avoids it.
"""

import subprocess
import sys
from multiprocessing import shared_memory

LOOK = "from multiprocessing.shared_memory import SharedMemory; memory = SharedMemory({!r}); print(memory.buf[0])"

if __name__ == "__main__":
    memory = shared_memory.SharedMemory(create=True, size=4096)
    try:
        memory.buf[0] = 7
        launch = [sys.executable, *(["-m", "cmp"] if "cmp" in sys.modules else [])]
        look = [*launch, "-c", LOOK.format(memory.name)]
        for _ in range(2):  # unrelated processes: neither is a child of multiprocessing's
            ended = subprocess.run(look, capture_output=True, text=True, check=False)
            if ended.stdout != "7\n":
                sys.exit(f"loses: the memory is gone: {ended.stderr.splitlines()[-1]}")
    finally:
        memory.close()
        try:
            memory.unlink()
        except FileNotFoundError:
            pass

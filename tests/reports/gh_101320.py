"""A manager's proxy that several forked processes use at once reads the others' answers: pickle errors, or a hang."""

import multiprocessing
import os
import sys

if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        shared = manager.dict(a="a" * 1000)
        shared["a"]  # the proxy now has a connection, which each fork inherits
        children = []
        for n in range(4):
            children.append(os.fork())
            if not children[-1]:
                for k in range(300):
                    shared[n] = k
                    if shared[n] != k:
                        os._exit(1)
                os._exit(0)
        statuses = [os.waitpid(pid, 0)[1] for pid in children]
        if any(statuses):
            sys.exit("loses: an answer went to another process")

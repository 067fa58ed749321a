"""A proxy of a manager with an `authkey` of its own cannot be unpickled."""

import multiprocessing
import pickle
import sys
from multiprocessing import managers

if __name__ == "__main__":
    with managers.SyncManager(authkey=b"of its own") as manager:
        items = manager.Queue()
        items.put(1)
        try:
            copy = pickle.loads(pickle.dumps(items))
        except multiprocessing.AuthenticationError as error:
            sys.exit(f"loses: {error}")
        assert copy.get() == 1

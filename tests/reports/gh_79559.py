"""An iterator of `imap` does not keep its Pool alive, and hangs once the Pool has been collected.

bpo-35378, and 79810 of the same month.
"""

import gc
import multiprocessing
import warnings


def slowly():
    for n in range(50):
        gc.collect()
        yield n


if __name__ == "__main__":
    warnings.simplefilter("ignore", ResourceWarning)
    assert list(multiprocessing.Pool(2).imap(abs, slowly())) == list(range(50))

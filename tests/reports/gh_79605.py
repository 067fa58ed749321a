"""A Pool that is dropped while it runs says so: ResourceWarning.

bpo-35424, a wish of the tracker's that was granted in 3.8.
"""

import gc
import multiprocessing
import sys
import warnings

if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pool = multiprocessing.Pool(1)
        pool.apply(abs, (-1,))
        del pool
        gc.collect()
    if not any(warning.category is ResourceWarning for warning in caught):
        sys.exit("loses: no warning")

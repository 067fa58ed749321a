"""multiprocessing, rewritten as a C extension."""

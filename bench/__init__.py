"""The benchmark of cmp: the same work on the standard library's multiprocessing and on cmp, in turn.

run.py is the command, runner.py measures one row in a process of its own (child.py), rows/ holds the work.
"""

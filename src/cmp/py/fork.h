/* Fork as the stdlib's processes do it. */
#ifndef CMP_PY_FORK_H
#define CMP_PY_FORK_H

#include "py/state.h"

#include <sys/types.h>

int cmpy_fork_add(PyObject *module);

/* os.fork(): its audit event, its refusals, the at-fork hooks of the interpreter and of users, its warning about
 * threads (3.12), which counts as multiprocessing's and is therefore silent by default.
 * The child's pid, 0 in the child, -1 with an exception. An exception may be set in the first two cases, too: a signal
 * handler's, which came after the fork. */
pid_t cmpy_fork(struct cmpy_state *state);

/* One thread at a time flushes and forks. A flush that waits for the stream's lock gets it the moment its holder lets
 * go, without running yet; if that holder forked then, the child would find the lock taken for ever.
 * 1: it is ours, once more maybe; 0: somebody kept it for a second, who may be waiting (in a hook of a fork, in a
 * flush) for something that we hold; -1 with what a signal handler raised. What came is handed to cmpy_turn_give, in
 * the parent only. With the GIL. Another turn is that of who has a pipe open which no child may inherit: os.fork()
 * takes it by a hook, whoever calls it (heirs.py). */
int cmpy_turn_take(void);
void cmpy_turn_give(int taken);

#endif

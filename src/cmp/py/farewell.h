/* Farewell: daemon threads when the interpreter exits.
 *
 * Its exit function ends the pools, and with them the waits of threads that still use one. The standard library leaves
 * such threads asleep, and daemon threads end with the process, unheard. Woken here they would raise PoolEndedError,
 * whose traceback the interpreter prints while it takes itself apart; a thread that is stopped in the middle of that
 * holds the lock of sys.stderr, which aborts the process. So they stay asleep here as well, but for the threads that
 * call back: their pool is not over before they have done so, and whoever joins it would wait for ever. */
#ifndef CMP_PY_FAREWELL_H
#define CMP_PY_FAREWELL_H

#include "py/state.h"

/* Never returns in a daemon thread of a process that is running its exit function, unless it is one that calls back;
 * else does nothing. Any exception that is set stays set. */
void cmpy_farewell(struct cmpy_state *state);

#endif

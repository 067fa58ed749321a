/* Supervisor: one daemon thread per process, from its first pool to the end of its last, running C.
 *
 * It sleeps in poll() on the sentinels of all workers of all pools and on one eventfd, and
 *   - has dead workers settled and replaced (py/roster.h), and says when a pool is over, which ends a join();
 *   - empties the result queues of pools for which no thread waits, so that nothing piles up that nobody will fetch.
 * For the last it asks the workers to raise the eventfd at the next result (`wanted`, shm/pooltable.h), once per look;
 * results without callbacks are nobody's hurry, so after each such look it stays away for COALESCE_NS. While a thread
 * leads, nothing is asked for.
 *
 * All of it is guarded by the GIL. A forked child has none; it is made anew with the child's first pool. */
#ifndef CMP_PY_SUPERVISOR_H
#define CMP_PY_SUPERVISOR_H

#include "py/engine.h"

int cmpy_supervisor_add(PyObject *module);

/* The eventfd of this process's supervisor, which need not run yet; open until adopt or unreserve. -1 with an
 * exception. */
int cmpy_supervisor_reserve(void);
void cmpy_supervisor_unreserve(void);
/* Takes the engine on (a reference of its own, until the pool is over), starting the thread if need be. -1 with an
 * exception: still reserved. 1: taken on, and an exception is set that came from a signal handler meanwhile. */
int cmpy_supervisor_adopt(struct cmpy_engine *engine);
/* The supervisor looks at everything anew. */
void cmpy_supervisor_kick(void);
/* Nobody waits for this engine's results any more, but some will come. */
void cmpy_supervisor_want(struct cmpy_engine *engine);
/* Somebody is about to wait for them. */
void cmpy_supervisor_unwant(struct cmpy_engine *engine);
/* Is the calling thread it? */
bool cmpy_supervisor_is_me(void);

#endif

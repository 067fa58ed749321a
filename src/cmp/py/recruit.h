/* Recruit: a worker from the wish for one to its entry in the roster (py/roster.h): a slot of the pool table, a process
 * object as the pool's factory makes it, its start.
 *
 * Any thread may recruit, several at once: `starting` counts the workers on the way, so that nobody starts them again,
 * and a pool that ends knows of them. Users' code runs in between, in which the pool may end: who has started a worker
 * then kills it. A start that fails leaves a slot free again, or, where the process may have run all the same, a worker
 * in the roster whose death is settled like any other's. */
#ifndef CMP_PY_RECRUIT_H
#define CMP_PY_RECRUIT_H

#include "py/engine.h"

/* Starts workers until there are as many as wanted. -1 with an exception: those started stay. */
int cmpy_recruit_fill(struct cmpy_engine *engine);
/* How many there are too few, or, below 0, too many. */
Py_ssize_t cmpy_recruit_missing(const struct cmpy_engine *engine);

#endif

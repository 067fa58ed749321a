/* Lead: who reads a pool's results.
 *
 * One thread at a time leads. A thread that waits for a job leads if nobody does: it takes results from the queue,
 * whosoever they are, and delivers each to its job, until its own is done; then the lead is free, and one of those that
 * wait takes it. The others follow: they sleep on `followers` until there are news. While nobody waits, the supervisor
 * leads for the moment it takes to empty the queue. Results are thus delivered in the order in which they were
 * published, and whoever leads can know that all published ones have been delivered, which is what settling a death
 * needs (py/roster.h).
 *
 * Whoever stops to wait while the lead is free offers it: to those who follow, else to the supervisor. So does who lets
 * signal handlers run, for these may wait for whatever results bring about. A thread that leads may run a finalizer
 * which waits itself: it leads on, one level deeper.
 *
 * News: a job got done, or a worker died, in a thread other than the leader. `news` moves, followers are woken, and
 * the leader, asleep in the result queue, is disturbed: it looks at `news` before it sleeps (cmpy_lead_look). */
#ifndef CMP_PY_LEAD_H
#define CMP_PY_LEAD_H

#include "py/engine.h"

/* Waits, leading or following, until done(arg): 0; 1: the deadline has passed; -1: an exception. `returns`: the caller
 * counts in engine->nreturning. */
int cmpy_lead_wait(struct cmpy_engine *engine, bool (*done)(void *), void *arg, int64_t deadline_ns, bool returns);
/* Delivers what is there, if no other thread leads. Runs no user code but finalizers. */
void cmpy_lead_drain(struct cmpy_engine *engine);
/* Says that something has changed (see above). */
void cmpy_lead_news(struct cmpy_engine *engine);
/* For cmp_queue.on_look of the results, the engine being its argument. */
int cmpy_lead_look(void *engine);

#endif

/* Roster: the parent's workers: how their deaths are noticed and settled, how they are replaced. How they are
 * started is py/recruit.h's.
 *
 * A worker that ends before its initializer is done is barren. One such death is replaced at once, like any other;
 * several in a row are braked (10 ms, doubled, up to half a second), and when CMPY_BARREN_LIMIT in a row, or twice the
 * size of the pool if that is more, have died and no worker is ready, the pool gives up: all that is out, and all that
 * comes, fails with WorkerLostError saying so. A start that fails counts as such a death. Deaths by SIGKILL and
 * SIGTERM, and with a fork server, which may have come from outside, and starts for which the system lacks something
 * or nobody is there count a sixth each. */
#ifndef CMP_PY_ROSTER_H
#define CMP_PY_ROSTER_H

#include "py/engine.h"

#include <poll.h>

#define CMPY_BARREN_LIMIT 8

/* Room for cmpy_roster_poll's answer. */
Py_ssize_t cmpy_roster_count(const struct cmpy_engine *engine);
/* One entry per living worker; how many. */
Py_ssize_t cmpy_roster_poll(const struct cmpy_engine *engine, struct pollfd *entries);
/* Looks who has ended, settles it if nobody leads, replaces them. Never raises. What it could not do now it does when
 * called again, at the latest at *again_ns (lowered, never raised). */
void cmpy_roster_tend(struct cmpy_engine *engine, int64_t *again_ns);
/* By the leader: sees to the claims of those who ended, after `drain` has delivered all that they published. */
void cmpy_roster_settle(struct cmpy_engine *engine, void (*drain)(struct cmpy_engine *));

#endif

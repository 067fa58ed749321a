/* The standard streams of a process that forks and of one that was forked. */
#ifndef CMP_PY_STREAMS_H
#define CMP_PY_STREAMS_H

#include "py/state.h"

/* Flushes sys.stdout, sys.stderr and C's stdout, so that nothing is printed twice. -1 with what a flush raised; that
 * a stream is missing or closed is no error. */
int cmpy_streams_flush(struct cmpy_state *state);

/* In a forked child, before it runs anything: makes the locks of its standard streams anew, and those of the streams
 * that logging's handlers write to. A thread has such a lock while it writes, also without the GIL, and a child
 * forked meanwhile would find it taken for ever: at its first word, or, since it flushes them, at its end. What has
 * come into a stream's buffer since the parent's flush is for the parent to print. Sets no exception. */
void cmpy_streams_renew(struct cmpy_state *state);

#endif

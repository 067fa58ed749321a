/* Thread: the pool's helper threads: daemons, so that no program waits for them at its end. join() waits for those that
 * are about to end, which no users' code holds up any more: nobody finds them, or what they hold, after it. */
#ifndef CMP_PY_THREAD_H
#define CMP_PY_THREAD_H

#include "py/state.h"

#include <stdbool.h>

/* threading.Thread(target=function, args=(argument,), daemon=True).start(). -1 with an exception; if that is a signal
 * handler's, the thread may yet come to life. RuntimeError, and the function is not called, where what is started so
 * runs in the caller's own OS thread. */
int cmpy_thread_start(struct cmpy_state *state, const char *name, PyObject *function, PyObject *argument);
/* threading.current_thread(). NULL with an exception. */
PyObject *cmpy_thread_current(struct cmpy_state *state);

/* This process has no other thread that the interpreter knows. */
bool cmpy_thread_is_only_one(void);

/* True while the interpreter takes itself apart: no other thread runs Python code any more, wherever it was. What
 * destructors of globals call then must not wait for one. */
bool cmpy_threads_are_gone(void);

/* A list of threads that are about to end. Runs no Python code; a thread that finds no room is not waited for. */
void cmpy_thread_leaves(PyObject *leaving, PyObject *thread);
/* Takes those off that have ended. Never raises. */
void cmpy_threads_prune(PyObject *leaving);
/* Waits for all of them, but for the calling thread, and not while the interpreter takes itself apart, when they stand
 * still. -1 with what a signal handler raised, or MemoryError; whoever is left on the list is waited for next time. */
int cmpy_threads_join(struct cmpy_state *state, PyObject *leaving);

int cmpy_thread_add(PyObject *module);

#endif

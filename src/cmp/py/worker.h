/* Worker: what runs in a pool's processes: take a task, call, publish the outcome, one task after another.
 *
 * Whatever goes wrong with a task, in decoding it, in the call, in encoding its result, is that task's outcome: a
 * worker ends only when the queue is shut, after maxtasksperchild tasks, or when a task raised SystemExit (which fails
 * the task and then ends this process, as it would end any). Ctrl-C in a task fails the task; while it waits for one,
 * the worker leaves without a word: the program is being stopped, and its user has seen one traceback already. */
#ifndef CMP_PY_WORKER_H
#define CMP_PY_WORKER_H

#include "py/engine.h"

int cmpy_worker_add(PyObject *module);

#endif

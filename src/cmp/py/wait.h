/* Where Python meets waiting: the GIL, signals, timeouts. The only loop that resumes after -EINTR. */
#ifndef CMP_PY_WAIT_H
#define CMP_PY_WAIT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

#define CMPY_TRY INT64_C(0)
#define CMPY_FOREVER INT64_MAX

/* A Python exception is set; distinct from every negative errno. */
#define CMPY_RAISED (-4096)

/* The deadline of (block, timeout) as Queue.get and Lock.acquire have them: block false: CMPY_TRY; timeout None:
 * CMPY_FOREVER; a timeout <= 0 tries. -1 with TypeError/ValueError/OverflowError set. */
int cmpy_deadline(int block, PyObject *timeout, int64_t *deadline_ns);

/* First call(arg, CMPY_TRY) with the GIL held. If that says -EAGAIN or -EBUSY and the deadline allows (-EBUSY always
 * does: an internal lock is free again within moments), call(arg, some deadline) without the GIL, again and again until
 * the deadline is reached; in between, and after -EINTR, signal handlers run. Where only a try was asked for, -EBUSY is
 * followed by a call with a deadline long past. Gives 0, -EAGAIN (tried in vain), -ETIMEDOUT (waited in vain), another
 * negative errno, or CMPY_RAISED. `call` touches no PyObject. Once call has returned 0, no signal handler runs before
 * the return: what was taken is given. */
typedef int (*cmpy_call)(void *arg, int64_t deadline_ns);
int cmpy_wait(cmpy_call call, void *arg, int64_t deadline_ns);

/* The same for callers that have to put something down before signal handlers may run: no handler does, and -EINTR says
 * that it is time to let them, by PyErr_CheckSignals(), and then to wait again. */
int cmpy_wait_once(cmpy_call call, void *arg, int64_t deadline_ns);

/* In loops that run no bytecode, where nobody else would give up the GIL: does so at each 256th call, `count` being the
 * caller's. */
void cmpy_breathe(unsigned *count);

#endif

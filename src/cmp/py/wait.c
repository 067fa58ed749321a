#include "py/wait.h"

#include "os/clock.h"
#include "os/lifeline.h"
#include "py/bufcache.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>

/* A signal that arrives after the last look for signals and before the sleep begins interrupts nothing: so even a
 * sleep without end is cut into pieces of this length, between which signals are looked for. */
#define SIGNAL_LOOK_NS INT64_C(1000000000)

int cmpy_deadline(int block, PyObject *timeout, int64_t *deadline_ns)
{
    if (!block) {
        *deadline_ns = CMPY_TRY;
        return 0;
    }
    if (timeout == NULL || timeout == Py_None) {
        *deadline_ns = CMPY_FOREVER;
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) return -1;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "Invalid value NaN (not a number)");
        return -1;
    }
    if (seconds <= 0) {
        *deadline_ns = CMPY_TRY;
        return 0;
    }
    int64_t now_ns = cmp_now_ns();
    /* Centuries, also as infinity, are for ever. */
    *deadline_ns = seconds >= 9e9 ? CMPY_FOREVER : now_ns + (int64_t)(seconds * 1e9);
    return 0;
}

static bool tried_enough(int code, int64_t deadline_ns)
{
    return code != -EBUSY && (code != -EAGAIN || deadline_ns == CMPY_TRY);
}

/* One stretch without the GIL. -EINTR: now it is the signals' turn. */
static int stretch(cmpy_call call, void *arg, int64_t deadline_ns)
{
    int64_t until_ns = 1; /* long past: waits for internal locks and for nothing else */
    int code;
    Py_BEGIN_ALLOW_THREADS
    if (deadline_ns != CMPY_TRY) {
        until_ns = cmp_tick_ns() + SIGNAL_LOOK_NS;
        if (until_ns > deadline_ns) until_ns = deadline_ns;
    }
    code = call(arg, until_ns);
    Py_END_ALLOW_THREADS
    if (code != -ETIMEDOUT) return code;
    if (deadline_ns == CMPY_TRY) return -EAGAIN;
    if (until_ns == deadline_ns) return -ETIMEDOUT;
    cmpy_bufcache_idle();
    return -EINTR;
}

int cmpy_wait_once(cmpy_call call, void *arg, int64_t deadline_ns)
{
    int code = call(arg, CMPY_TRY);
    return tried_enough(code, deadline_ns) ? code : stretch(call, arg, deadline_ns);
}

int cmpy_wait(cmpy_call call, void *arg, int64_t deadline_ns)
{
    int code = call(arg, CMPY_TRY);
    if (tried_enough(code, deadline_ns)) return code;
    while ((code = stretch(call, arg, deadline_ns)) == -EINTR) {
        cmp_lifeline_look();
        if (PyErr_CheckSignals() < 0) return CMPY_RAISED;
    }
    return code;
}

void cmpy_breathe(unsigned *count)
{
    if (++*count % 256 != 0) return;
    Py_BEGIN_ALLOW_THREADS
    Py_END_ALLOW_THREADS
}

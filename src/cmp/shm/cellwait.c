#include "shm/cellwait.h"

#include "os/clock.h"

#include <errno.h>

/* A holder's death is to be noticed within a second, and an idle waiter is to cost next to nothing. */
#define FIRST_SLICE_NS (20 * CMP_MS)
#define LAST_SLICE_NS (500 * CMP_MS)

int cmp_cell_wait(struct cmp_eventcount *ec, int (*look)(void *), bool (*more)(void *), void *arg,
                  int64_t deadline_ns, int64_t spin_ns, struct cmp_spin *learnt,
                  struct cmp_patience *patience)
{
    if (deadline_ns <= 0) return look(arg);
    bool first = patience->slice_ns == 0;
    if (first) patience->slice_ns = FIRST_SLICE_NS;
    int64_t slice_end_ns = cmp_tick_ns() + patience->slice_ns;
    bool last = deadline_ns <= slice_end_ns;
    int code = cmp_eventcount_wait(ec, look, more, arg, last ? deadline_ns : slice_end_ns, first ? spin_ns : 0,
                                   learnt);
    if (code != -ETIMEDOUT || last) return code;
    patience->slice_ns = patience->slice_ns * 2 < LAST_SLICE_NS ? patience->slice_ns * 2 : LAST_SLICE_NS;
    return -EINTR;
}

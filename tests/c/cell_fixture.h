/* What the crash tests of locks share: a cell in which somebody dies, and an event for whoever lives. */
#ifndef CMP_TESTS_CELL_FIXTURE_H
#define CMP_TESTS_CELL_FIXTURE_H

#include "crash.h"
#include "crowded.h"

#include "os/clock.h"
#include "shm/flag.h"
#include "shm/slab.h"

#define PATIENCE_NS (2000 * CMP_MS) /* a second is promised; the machine may be busy */
#define ROUNDS 70                   /* more than the passes that crash_everywhere lets go by */

static struct cmp_cell cell, other;
static bool crowded; /* nobody but this process finds a member slot */

static inline void fresh(enum cmp_cell_kind kind, uint64_t limit)
{
    CHECK_EQ(cmp_cell_create(&cell, kind, limit), 0);
    CHECK_EQ(cmp_cell_create(&other, CMP_CELL_EVENT, 0), 0);
    if (crowded) crowd(&cell.members);
}

static inline void done(void)
{
    cmp_cell_close(&cell, true);
    cmp_cell_close(&other, true);
}

#endif

/* Sweep: takes back what dead members owned.
 *
 * Its steps: find the dead, those without a slot by what they own; lock both sides of every queue in the segment,
 * which repairs what a dead holder left; judge every block by its tenure and free those that nobody can want any more;
 * unlock; bury the dead, so that their slots are free again. A sweeper killed half-way leaves the rest, the dead
 * unburied, to the next.
 *
 * It judges ITEM and CHUNK blocks by cmp_queue_keeps, so this process needs handles to all queues of the segment (all
 * attached when it does anything at all; attaching and detaching does not run beside a sweep): while it lacks one, it
 * leaves everything alone. Never with a lock of the segment held. Not with the GIL held: it waits for queue locks, each
 * at most a slice, and gives up if one is held by a process that stands still. */
#ifndef CMP_SHM_SWEEP_H
#define CMP_SHM_SWEEP_H

#include "shm/segment.h"

/* Says how many members were buried or blocks freed, 0: nothing to do or not now. Some ms per 10 000 blocks. */
int cmp_sweep(struct cmp_segment *segment);

/* The same if some member has died, or no slot is free, so that there may be members without one; else nothing: about
 * 20 us for each that lives. */
int cmp_sweep_dead(struct cmp_segment *segment);

#endif

/* Barrier: its whole state is one word, so that arriving, the pass, the break and the reset are one CAS each.
 *
 * word:
 *   bits 0-15  generation: how many passes and resets there were
 *   bits 16-31 arrived in this generation
 *   bit 48     BROKEN: until the next reset
 *   bit 49     ACTING: all have arrived and one of them runs the action; bits 16-47 are then its name, by pid as a
 *              process without a slot has it (member.h), so that no table can be too small for it
 *   bits 50-63 how the last 14 generations ended, the last in bit 50: 1 passed, 0 reset
 *
 * A waiter remembers its generation and sleeps on `changed` until that is over; the history tells it how it ended,
 * whatever has happened since. Who arrives last begins the next generation, at once or after the action. An arrival
 * counts although its process dies afterwards. If who runs the action dies, the next look of a waiter, within a
 * second, breaks the barrier. While an action runs, timeouts do not break it and arrivals of the next round wait. */
#ifndef CMP_SHM_BARRIER_H
#define CMP_SHM_BARRIER_H

#include "shm/cellwait.h"
#include "shm/slab.h"

#include <stdbool.h>
#include <stdint.h>

#define CMP_BARRIER_PARTIES_MAX 0xffff

/* One wait; starts as zeros but for cell and has_action. */
struct cmp_barrier_wait {
    struct cmp_cell *cell;
    bool has_action;
    bool arrived;
    bool acts; /* arrived last: has to run the action and to call cmp_barrier_finish */
    uint16_t generation;
    uint16_t index; /* how many had arrived before */
    struct cmp_patience patience;
};

/* Arrives, once, and waits. 0: passed, or `acts`. -EPIPE: broken. At the deadline it breaks the barrier itself:
 * -EPIPE too; with deadline 0 it only looks, -EAGAIN. -EINTR: call again, or cmp_barrier_withdraw. The deadline does
 * not count while an action runs. */
int cmp_barrier_wait(struct cmp_barrier_wait *wait, int64_t deadline_ns);
/* Ends the action: passes, or breaks the barrier if it went wrong. 0, or -EPIPE: it was broken meanwhile. */
int cmp_barrier_finish(struct cmp_barrier_wait *wait, bool well);
/* Takes an arrival back, if it still waits. */
void cmp_barrier_withdraw(struct cmp_barrier_wait *wait);

void cmp_barrier_abort(struct cmp_cell *cell);
/* Those that wait find it broken, the next to arrive find it whole. While an action runs: nothing, as after it. */
void cmp_barrier_reset(struct cmp_cell *cell);

uint32_t cmp_barrier_waiting(const struct cmp_cell *cell);
bool cmp_barrier_broken(const struct cmp_cell *cell);

#endif

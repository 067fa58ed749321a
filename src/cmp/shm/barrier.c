#include "shm/barrier.h"

#include "os/clock.h"

#include <errno.h>

/* As for an event (flag.c). */
#define SPIN_NS INT64_C(20000)

#define ACTOR_SHIFT 16
#define ACTOR_MASK (UINT64_C(0xffffffff) << ACTOR_SHIFT)
#define BROKEN (UINT64_C(1) << 48)
#define ACTING (UINT64_C(1) << 49)
#define ONE_ARRIVED (UINT64_C(1) << 16)
#define HISTORY_SHIFT 50
#define HISTORY_LENGTH 14

static uint16_t generation_of(uint64_t word)
{
    return (uint16_t)word;
}

static uint16_t arrived_of(uint64_t word)
{
    return (uint16_t)(word >> 16);
}

/* The word of one whose action this process runs. */
static uint64_t acted_by_me(const struct cmp_cell *cell, uint64_t word)
{
    return (word & ~ACTOR_MASK) | ACTING | (uint64_t)(uint32_t)cmp_members_by_pid(&cell->members) << ACTOR_SHIFT;
}

/* An action ends so, or whole rounds: whoever ran it has no name there any more. */
static uint64_t broken(uint64_t word)
{
    return (word & ACTING ? word & ~(ACTING | ACTOR_MASK) : word) | BROKEN;
}

/* The next generation: nobody there, nothing broken, and how this one ended remembered. */
static uint64_t next_generation(uint64_t word, bool passed)
{
    uint64_t history = ((word >> HISTORY_SHIFT) << 1 | passed) << HISTORY_SHIFT;
    return history | (uint16_t)(generation_of(word) + 1);
}

/* How a generation that is over has ended. Who slept through more than the history can tell passed: others went
 * through it in between. */
static int outcome(uint64_t word, uint16_t generation)
{
    uint16_t age = (uint16_t)(generation_of(word) - generation);
    if (age > HISTORY_LENGTH) return 0;
    return word >> (HISTORY_SHIFT + age - 1) & 1 ? 0 : -EPIPE;
}

/* seq_cst for the look at `changed`, as in lockword.c; release and acquire are in it: what was done before a wait is
 * seen after it by all. */
#define MOVE(shm, word, to, label) cmp_cas(&(shm)->word, &(word), (to), seq_cst, label)

static void tell(struct cmp_cell_shm *shm)
{
    if (!cmp_eventcount_quiet(&shm->changed)) cmp_eventcount_notify_all(&shm->changed);
}

/* -EAGAIN: an action runs, of a round that is full. */
static int arrive(struct cmp_barrier_wait *wait)
{
    struct cmp_cell_shm *shm = wait->cell->shm;
    uint64_t word = cmp_load(&shm->word, acquire);
    for (;;) {
        if (word & BROKEN) return -EPIPE;
        if (word & ACTING) return -EAGAIN;
        bool last = (uint64_t)arrived_of(word) + 1 == shm->limit;
        wait->generation = generation_of(word);
        wait->index = arrived_of(word);
        if (!last) {
            if (wait->index == CMP_BARRIER_PARTIES_MAX) return -EPIPE; /* only a barrier of no parties gets so far */
            if (!MOVE(shm, word, word + ONE_ARRIVED, "barrier.arrive")) continue;
        } else if (wait->has_action) {
            if (!MOVE(shm, word, acted_by_me(wait->cell, word), "barrier.act")) continue;
            wait->acts = true;
        } else {
            if (!MOVE(shm, word, next_generation(word, true), "barrier.pass")) continue;
            tell(shm);
        }
        wait->arrived = true;
        return wait->acts || last ? 0 : -EAGAIN;
    }
}

static int look(void *arg)
{
    struct cmp_barrier_wait *wait = arg;
    if (!wait->arrived) return arrive(wait);
    if (wait->acts) return 0;
    uint64_t word = cmp_load(&wait->cell->shm->word, acquire);
    if (generation_of(word) != wait->generation) return outcome(word, wait->generation);
    return word & BROKEN ? -EPIPE : -EAGAIN;
}

/* A running action whose process is dead breaks the barrier. */
static void break_dead_action(struct cmp_cell *cell)
{
    uint64_t word = cmp_load(&cell->shm->word, acquire);
    if (!(word & ACTING)) return;
    cmp_owner actor = CMP_OWNER_NAMELESS | (uint32_t)(word >> ACTOR_SHIFT);
    if (!cmp_members_dead(&cell->members, actor)) return;
    if (MOVE(cell->shm, word, broken(word), "barrier.bury")) tell(cell->shm);
}

/* False if it is over already, or full. */
static bool break_own(struct cmp_barrier_wait *wait)
{
    struct cmp_cell_shm *shm = wait->cell->shm;
    uint64_t word = cmp_load(&shm->word, acquire);
    do {
        if (!wait->arrived) return false;
        if (generation_of(word) != wait->generation || (word & (BROKEN | ACTING))) return false;
    } while (!MOVE(shm, word, broken(word), "barrier.break"));
    tell(shm);
    return true;
}

int cmp_barrier_wait(struct cmp_barrier_wait *wait, int64_t deadline_ns)
{
    struct cmp_cell *cell = wait->cell;
    for (;;) {
        int code = look(wait);
        if (code != -EAGAIN || deadline_ns <= 0) return code;
        bool acting = cmp_load(&cell->shm->word, acquire) & ACTING;
        code = cmp_cell_wait(&cell->shm->changed, look, NULL, wait, acting ? INT64_MAX : deadline_ns, SPIN_NS,
                             &cell->spin, &wait->patience);
        if (code == -EINTR) break_dead_action(cell);
        if (code != -ETIMEDOUT && code != -EAGAIN) return code;
        if (break_own(wait)) return -EPIPE;
    }
}

int cmp_barrier_finish(struct cmp_barrier_wait *wait, bool well)
{
    struct cmp_cell_shm *shm = wait->cell->shm;
    uint64_t word = cmp_load(&shm->word, acquire);
    for (;;) {
        /* An abort during the action took the name away. */
        if (generation_of(word) != wait->generation || !(word & ACTING)) return -EPIPE;
        uint64_t to = well ? next_generation(word, true) : broken(word);
        if (MOVE(shm, word, to, "barrier.finish")) break;
    }
    tell(shm);
    return 0;
}

void cmp_barrier_withdraw(struct cmp_barrier_wait *wait)
{
    struct cmp_cell_shm *shm = wait->cell->shm;
    if (!wait->arrived) return;
    wait->arrived = false;
    uint64_t word = cmp_load(&shm->word, acquire);
    do {
        bool waits = generation_of(word) == wait->generation && !(word & (BROKEN | ACTING));
        if (!waits || arrived_of(word) == 0) return;
    } while (!MOVE(shm, word, word - ONE_ARRIVED, "barrier.withdraw"));
}

void cmp_barrier_abort(struct cmp_cell *cell)
{
    uint64_t word = cmp_load(&cell->shm->word, acquire);
    while (!MOVE(cell->shm, word, broken(word), "barrier.abort")) {}
    tell(cell->shm);
}

void cmp_barrier_reset(struct cmp_cell *cell)
{
    uint64_t word = cmp_load(&cell->shm->word, acquire);
    do {
        if (word & ACTING) return;
    } while (!MOVE(cell->shm, word, next_generation(word, false), "barrier.reset"));
    tell(cell->shm);
}

uint32_t cmp_barrier_waiting(const struct cmp_cell *cell)
{
    uint64_t word = cmp_load(&cell->shm->word, acquire);
    if (word & BROKEN) return 0;
    return word & ACTING ? (uint32_t)cell->shm->limit : arrived_of(word);
}

bool cmp_barrier_broken(const struct cmp_cell *cell)
{
    return cmp_load(&cell->shm->word, acquire) & BROKEN;
}

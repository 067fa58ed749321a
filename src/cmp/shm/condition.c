#include "shm/condition.h"

#include "os/clock.h"
#include "os/futex.h"

#include <errno.h>

/* As for an event (flag.c): the answer to a notification takes some microseconds of Python. */
#define SPIN_NS INT64_C(20000)
#define FIRST_SLICE_NS (20 * CMP_MS)
#define LAST_SLICE_NS (500 * CMP_MS)

/* A waiter found alive is not asked again by the next notification of a quick exchange. */
#define BELIEVE_NS (5 * CMP_MS)

#define ONE_WAITS UINT64_C(1)
#define ONE_GRANTED (UINT64_C(1) << 32)

static uint32_t crowd_waits(uint64_t aux)
{
    return (uint32_t)aux;
}

static uint32_t crowd_granted(uint64_t aux)
{
    return (uint32_t)(aux >> 32);
}

static bool may_be_notified(uint32_t state)
{
    return state == CMP_TICKET_WAITING || state == CMP_TICKET_ASLEEP;
}

static struct cmp_ticket_shm *claim(struct cmp_cell_shm *shm, cmp_owner me)
{
    for (uint32_t i = 0; i < CMP_CELL_TICKETS; i++) {
        struct cmp_ticket_shm *ticket = &shm->tickets[i];
        uint64_t nobody = 0;
        if (cmp_load(&ticket->owner, relaxed) != 0) continue;
        /* acquire: idle, as the last owner or a sweep left it; pairs with [ticket.free] and [ticket.reclaim]. */
        if (!cmp_cas(&ticket->owner, &nobody, me, acquire, "ticket.claim")) continue;
        uint32_t used = cmp_load(&shm->tickets_used, relaxed);
        /* release: a notifier that reads the bound looks at this ticket from now on. */
        while (used <= i && !cmp_cas(&shm->tickets_used, &used, i + 1, release, "ticket.widen")) {}
        return ticket;
    }
    return NULL;
}

static uint64_t notify_tickets(struct cmp_cell *cell, uint64_t most, bool choosing, const uint32_t *before);

/* A notification whose receiver died before it could go on, goes on to the next of those that waited by then. */
static void pass_on(struct cmp_cell *cell)
{
    struct cmp_cell_shm *shm = cell->shm;
    cmp_owner me = cmp_members_me(&cell->members);
    uint32_t used = cmp_load(&shm->tickets_used, acquire);
    for (uint32_t i = 0; i < used && i < CMP_CELL_TICKETS; i++) {
        struct cmp_ticket_shm *ticket = &shm->tickets[i];
        if (cmp_load(&ticket->state, acquire) != CMP_TICKET_NOTIFIED) continue;
        cmp_owner owner = cmp_load(&ticket->owner, relaxed);
        uint32_t when = cmp_load(&ticket->turn, relaxed);
        if (owner == 0 || !cmp_members_dead(&cell->members, owner)) continue;
        /* Whose it is has the notification. Killed before it is passed on, it is a dead one's again; killed after, two
         * have been notified where one was meant to be, which every waiter of a condition is ready for. */
        if (!cmp_cas(&ticket->owner, &owner, me, acq_rel, "ticket.adopt")) continue;
        (void)notify_tickets(cell, 1, true, &when);
        cmp_store(&ticket->state, CMP_TICKET_IDLE, relaxed, "ticket.pass");
        cmp_store(&ticket->owner, 0, release, "ticket.free"); /* pairs with [ticket.claim] */
    }
}

void cmp_condition_sweep(struct cmp_cell *cell)
{
    pass_on(cell);
    cmp_cell_sweep(cell);
}

void cmp_condition_enter(struct cmp_condition_wait *wait, struct cmp_cell *cell)
{
    struct cmp_cell_shm *shm = cell->shm;
    cmp_owner me = cmp_members_me(&cell->members);
    struct cmp_ticket_shm *ticket = claim(shm, me);
    if (ticket == NULL) {
        cmp_condition_sweep(cell);
        ticket = claim(shm, me);
    }
    *wait = (struct cmp_condition_wait){.cell = cell, .ticket = ticket};
    if (ticket == NULL) {
        (void)cmp_rmw(fetch_add, &shm->aux, ONE_WAITS, acq_rel, "crowd.enter");
        return;
    }
    uint32_t turn = cmp_rmw(fetch_add, &shm->turns, 1, relaxed, "ticket.turn"); /* the lock orders the callers */
    cmp_store(&ticket->turn, turn, relaxed, "ticket.order");
    /* release: the turn is there before the wait shows; pairs with the load in gather. */
    cmp_store(&ticket->state, CMP_TICKET_WAITING, release, "ticket.wait");
}

static int look_at_ticket(void *arg)
{
    const struct cmp_ticket_shm *ticket = arg;
    /* acquire: pairs with [ticket.notify]. */
    return cmp_load(&ticket->state, acquire) == CMP_TICKET_NOTIFIED ? 0 : -EAGAIN;
}

static int sleep_on_ticket(struct cmp_condition_wait *wait, int64_t deadline_ns)
{
    struct cmp_ticket_shm *ticket = wait->ticket;
    if (cmp_load(&ticket->state, acquire) == CMP_TICKET_NOTIFIED) return 0;
    if (deadline_ns <= 0) return -EAGAIN;
    int64_t *slice_ns = &wait->patience.slice_ns;
    int64_t now_ns = cmp_tick_ns();
    if (*slice_ns == 0) {
        *slice_ns = FIRST_SLICE_NS;
        if (cmp_spin(&wait->cell->spin, look_at_ticket, ticket, deadline_ns, SPIN_NS) == 0) return 0;
    }
    uint32_t state = CMP_TICKET_WAITING;
    /* Once asleep it stays so: a notifier wakes in vain a waiter that is just looking, which harms nobody. */
    (void)cmp_cas(&ticket->state, &state, CMP_TICKET_ASLEEP, acquire, "ticket.sleep");
    bool last = deadline_ns <= now_ns + *slice_ns;
    int code = 0;
    while (code == 0 && cmp_load(&ticket->state, acquire) != CMP_TICKET_NOTIFIED)
        code = cmp_futex_wait(&ticket->state, CMP_TICKET_ASLEEP, last ? deadline_ns : now_ns + *slice_ns);
    if (cmp_load(&ticket->state, acquire) == CMP_TICKET_NOTIFIED) return 0;
    if (code == -EAGAIN) return -EINTR;
    if (code != -ETIMEDOUT || last) return code;
    *slice_ns = *slice_ns * 2 < LAST_SLICE_NS ? *slice_ns * 2 : LAST_SLICE_NS;
    pass_on(wait->cell);
    return -EINTR;
}

static int look_in_crowd(void *arg)
{
    struct cmp_condition_wait *wait = arg;
    _Atomic uint64_t *place = &wait->cell->shm->aux;
    uint64_t aux = cmp_load(place, relaxed);
    while (crowd_granted(aux) > 0) {
        if (!cmp_cas(place, &aux, aux - ONE_GRANTED - ONE_WAITS, acquire, "crowd.take")) continue;
        wait->granted = true;
        return 0;
    }
    return -EAGAIN;
}

static bool more_for_crowd(void *arg)
{
    struct cmp_condition_wait *wait = arg;
    return crowd_granted(cmp_load(&wait->cell->shm->aux, relaxed)) > 0;
}

int cmp_condition_sleep(struct cmp_condition_wait *wait, int64_t deadline_ns)
{
    if (wait->ticket != NULL) return sleep_on_ticket(wait, deadline_ns);
    if (wait->granted) return 0;
    return cmp_cell_wait(&wait->cell->shm->crowd, look_in_crowd, more_for_crowd, wait, deadline_ns, SPIN_NS,
                         &wait->cell->spin, &wait->patience);
}

static bool leave_crowd(struct cmp_condition_wait *wait)
{
    _Atomic uint64_t *place = &wait->cell->shm->aux;
    uint64_t aux = cmp_load(place, relaxed);
    while (!wait->granted) {
        /* As many grants as waiters: one of them is this one's. */
        bool mine = crowd_granted(aux) >= crowd_waits(aux);
        uint64_t left = aux - ONE_WAITS - (mine ? ONE_GRANTED : 0);
        if (cmp_cas(place, &aux, left, acq_rel, "crowd.leave")) return mine;
    }
    return true;
}

bool cmp_condition_leave(struct cmp_condition_wait *wait)
{
    struct cmp_ticket_shm *ticket = wait->ticket;
    if (ticket == NULL) return leave_crowd(wait);
    bool notified = cmp_rmw(exchange, &ticket->state, CMP_TICKET_IDLE, acq_rel, "ticket.end") == CMP_TICKET_NOTIFIED;
    cmp_store(&ticket->owner, 0, release, "ticket.free"); /* pairs with [ticket.claim] */
    wait->ticket = NULL;
    wait->granted = true;
    return notified;
}

/* The tickets that wait, longest first. */
static uint32_t gather(struct cmp_cell_shm *shm, struct cmp_ticket_shm *waiting[CMP_CELL_TICKETS])
{
    uint32_t turns[CMP_CELL_TICKETS];
    uint32_t n = 0, used = cmp_load(&shm->tickets_used, acquire);
    for (uint32_t i = 0; i < used && i < CMP_CELL_TICKETS; i++) {
        struct cmp_ticket_shm *ticket = &shm->tickets[i];
        if (!may_be_notified(cmp_load(&ticket->state, acquire))) continue; /* pairs with [ticket.wait] */
        uint32_t turn = cmp_load(&ticket->turn, relaxed), at = n++;
        for (; at > 0 && (int32_t)(turns[at - 1] - turn) > 0; at--) {
            turns[at] = turns[at - 1];
            waiting[at] = waiting[at - 1];
        }
        turns[at] = turn;
        waiting[at] = ticket;
    }
    return n;
}

/* False if it no longer waits. */
static bool notify_ticket(struct cmp_cell_shm *shm, struct cmp_ticket_shm *ticket)
{
    uint32_t state = cmp_load(&ticket->state, relaxed);
    do {
        if (!may_be_notified(state)) return false;
        /* From now on `turn` tells when it was notified, for pass_on. If its wait has just ended and another begun,
         * that one comes somewhat early in the order, no more. */
        cmp_store(&ticket->turn, cmp_load(&shm->turns, relaxed), relaxed, "ticket.mark");
        /* release: what the notifier did under the lock; pairs with the waiter's load. A death between this and the
         * wake-up makes the waiter late. */
    } while (!cmp_cas(&ticket->state, &state, CMP_TICKET_NOTIFIED, acq_rel, "ticket.notify"));
    if (state == CMP_TICKET_ASLEEP) (void)cmp_futex_wake(&ticket->state, 1);
    return true;
}

/* With `before`, only those whose turn came before it. */
static uint64_t notify_tickets(struct cmp_cell *cell, uint64_t most, bool choosing, const uint32_t *before)
{
    struct cmp_ticket_shm *waiting[CMP_CELL_TICKETS];
    uint32_t n = gather(cell->shm, waiting);
    uint64_t notified = 0;
    for (uint32_t i = 0; i < n && notified < most; i++) {
        cmp_owner owner = cmp_load(&waiting[i]->owner, relaxed);
        if (before != NULL && (int32_t)(cmp_load(&waiting[i]->turn, relaxed) - *before) >= 0) break;
        if (choosing && owner != 0 && cmp_cell_dead(cell, owner, BELIEVE_NS)) {
            (void)cmp_cell_free_tickets(cell, owner);
            continue;
        }
        if (notify_ticket(cell->shm, waiting[i])) notified++;
    }
    return notified;
}

static uint64_t notify_crowd(struct cmp_cell_shm *shm, uint64_t most)
{
    uint64_t aux = cmp_load(&shm->aux, relaxed), n;
    do {
        n = crowd_waits(aux) - crowd_granted(aux);
        if (n > most) n = most;
        if (n == 0) return 0;
    } while (!cmp_cas(&shm->aux, &aux, aux + n * ONE_GRANTED, seq_cst, "crowd.grant"));
    cmp_eventcount_notify_all(&shm->crowd);
    return n;
}

uint64_t cmp_condition_notify(struct cmp_cell *cell, uint64_t most)
{
    /* Where everybody is told anyway, it does not matter who of them lives. */
    bool choosing = most < cmp_condition_waiting(cell);
    uint64_t notified = notify_tickets(cell, most, choosing, NULL);
    return notified < most ? notified + notify_crowd(cell->shm, most - notified) : notified;
}

uint32_t cmp_condition_waiting(const struct cmp_cell *cell)
{
    uint64_t aux = cmp_load(&cell->shm->aux, relaxed);
    uint32_t n = crowd_waits(aux) - crowd_granted(aux);
    uint32_t used = cmp_load(&cell->shm->tickets_used, acquire);
    for (uint32_t i = 0; i < used && i < CMP_CELL_TICKETS; i++)
        if (may_be_notified(cmp_load(&cell->shm->tickets[i].state, relaxed))) n++;
    return n;
}

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
    uint32_t kind = CMP_TICKET_KIND(state);
    return kind == CMP_TICKET_WAITING || kind == CMP_TICKET_ASLEEP;
}

static bool is_notified(const struct cmp_ticket_shm *ticket)
{
    /* acquire: pairs with [ticket.notify]. */
    return CMP_TICKET_KIND(cmp_load(&ticket->state, acquire)) == CMP_TICKET_NOTIFIED;
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

static uint64_t notify_tickets(struct cmp_cell *cell, uint64_t most, bool choosing, const uint32_t *until);

/* A notification whose receiver died before it could go on, goes on to the next of those that waited by then. */
static void pass_on(struct cmp_cell *cell)
{
    struct cmp_cell_shm *shm = cell->shm;
    cmp_owner me = cmp_members_me(&cell->members);
    uint32_t used = cmp_load(&shm->tickets_used, acquire);
    for (uint32_t i = 0; i < used && i < CMP_CELL_TICKETS; i++) {
        struct cmp_ticket_shm *ticket = &shm->tickets[i];
        if (!is_notified(ticket)) continue;
        cmp_owner owner = cmp_load(&ticket->owner, acquire);
        if (owner == 0 || !cmp_members_dead(&cell->members, owner)) continue;
        /* Looked at again: what was notified a moment ago may have been another's wait, or an earlier one. Of the dead
         * this stays so until somebody adopts it. */
        if (!is_notified(ticket)) continue;
        uint32_t when = cmp_load(&ticket->turn, relaxed);
        /* Whose it is has the notification. Killed before it is passed on, it is a dead one's again; killed after, two
         * have been notified where one was meant to be, which every waiter of a condition is ready for. */
        if (!cmp_cas(&ticket->owner, &owner, me, acq_rel, "ticket.adopt")) continue;
        (void)notify_tickets(cell, 1, true, &when);
        uint32_t state = cmp_load(&ticket->state, relaxed); /* ours now */
        /* release: who finds it idle no longer finds the dead owner; pairs with the load in free_ticket. */
        cmp_store(&ticket->state, CMP_TICKET_AS(state, CMP_TICKET_IDLE), release, "ticket.pass");
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
    /* release: who reads it finds the wait before this one ended; pairs with the load in notify_ticket. */
    cmp_store(&ticket->turn, turn, release, "ticket.order");
    uint32_t state = cmp_load(&ticket->state, relaxed);
    /* release: owner and turn are there before the wait shows; pairs with the loads in gather and in free_ticket. */
    cmp_store(&ticket->state, CMP_TICKET_NEXT_WAIT(state), release, "ticket.wait");
}

static int look_at_ticket(void *arg)
{
    return is_notified(arg) ? 0 : -EAGAIN;
}

static int sleep_on_ticket(struct cmp_condition_wait *wait, int64_t deadline_ns)
{
    struct cmp_ticket_shm *ticket = wait->ticket;
    if (is_notified(ticket)) return 0;
    if (deadline_ns <= 0) return -EAGAIN;
    int64_t *slice_ns = &wait->patience.slice_ns;
    int64_t now_ns = cmp_tick_ns();
    if (*slice_ns == 0) {
        *slice_ns = FIRST_SLICE_NS;
        if (cmp_spin(&wait->cell->spin, look_at_ticket, ticket, deadline_ns, SPIN_NS) == 0) return 0;
    }
    /* The wait keeps its number until it ends. */
    uint32_t state = cmp_load(&ticket->state, relaxed);
    uint32_t waiting = CMP_TICKET_AS(state, CMP_TICKET_WAITING), asleep = CMP_TICKET_AS(state, CMP_TICKET_ASLEEP);
    /* Once asleep it stays so: a notifier wakes in vain a waiter that is just looking, which harms nobody. */
    (void)cmp_cas(&ticket->state, &waiting, asleep, acquire, "ticket.sleep");
    bool last = deadline_ns <= now_ns + *slice_ns;
    int code = 0;
    while (code == 0 && !is_notified(ticket))
        code = cmp_futex_wait(&ticket->state, asleep, last ? deadline_ns : now_ns + *slice_ns);
    if (is_notified(ticket)) return 0;
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
    uint32_t idle = CMP_TICKET_AS(cmp_load(&ticket->state, relaxed), CMP_TICKET_IDLE);
    uint32_t ended = cmp_rmw(exchange, &ticket->state, idle, acq_rel, "ticket.end");
    cmp_store(&ticket->owner, 0, release, "ticket.free"); /* pairs with [ticket.claim] */
    wait->ticket = NULL;
    wait->granted = true;
    return CMP_TICKET_KIND(ended) == CMP_TICKET_NOTIFIED;
}

/* A wait that was found. */
struct found {
    struct cmp_ticket_shm *ticket;
    uint32_t state, turn;
};

/* The tickets that wait, longest first. */
static uint32_t gather(struct cmp_cell_shm *shm, struct found waiting[CMP_CELL_TICKETS])
{
    uint32_t n = 0, used = cmp_load(&shm->tickets_used, acquire);
    for (uint32_t i = 0; i < used && i < CMP_CELL_TICKETS; i++) {
        struct found found = {.ticket = &shm->tickets[i]};
        found.state = cmp_load(&found.ticket->state, acquire); /* pairs with [ticket.wait] */
        if (!may_be_notified(found.state)) continue;
        found.turn = cmp_load(&found.ticket->turn, relaxed); /* of a later wait perhaps: then notify_ticket says so */
        uint32_t at = n++;
        for (; at > 0 && (int32_t)(waiting[at - 1].turn - found.turn) > 0; at--) waiting[at] = waiting[at - 1];
        waiting[at] = found;
    }
    return n;
}

/* False if that wait has ended or was notified, though another may have begun there. */
static bool notify_ticket(struct cmp_cell_shm *shm, const struct found *found)
{
    struct cmp_ticket_shm *ticket = found->ticket;
    for (;;) {
        /* acquire: if a later wait has stored it, the state read next is no longer that of this one, so that the CAS
         * changes no turn but this wait's; pairs with [ticket.order]. */
        uint32_t turn = cmp_load(&ticket->turn, acquire), state = cmp_load(&ticket->state, relaxed);
        if (!may_be_notified(state) || CMP_TICKET_AS(state, 0) != CMP_TICKET_AS(found->state, 0)) return false;
        /* From now on `turn` tells when it was notified, for pass_on: by the last turn that was given out, which no
         * wait to come has. */
        uint32_t last = cmp_load(&shm->turns, relaxed) - 1;
        if (!cmp_cas(&ticket->turn, &turn, last, relaxed, "ticket.mark")) continue;
        /* release: what the notifier did under the lock; pairs with the waiter's load. A death between this and the
         * wake-up makes the waiter late. */
        bool asleep = CMP_TICKET_KIND(state) == CMP_TICKET_ASLEEP;
        if (!cmp_cas(&ticket->state, &state, CMP_TICKET_AS(state, CMP_TICKET_NOTIFIED), acq_rel, "ticket.notify"))
            continue;
        if (asleep) (void)cmp_futex_wake(&ticket->state, 1);
        return true;
    }
}

/* With `until`, only those whose turn came no later. */
static uint64_t notify_tickets(struct cmp_cell *cell, uint64_t most, bool choosing, const uint32_t *until)
{
    struct found waiting[CMP_CELL_TICKETS];
    uint32_t n = gather(cell->shm, waiting);
    uint64_t notified = 0;
    for (uint32_t i = 0; i < n && notified < most; i++) {
        cmp_owner owner = cmp_load(&waiting[i].ticket->owner, relaxed);
        if (until != NULL && (int32_t)(waiting[i].turn - *until) > 0) break;
        if (choosing && owner != 0 && cmp_cell_dead(cell, owner, BELIEVE_NS)) {
            (void)cmp_cell_free_tickets(cell, owner);
            continue;
        }
        if (notify_ticket(cell->shm, &waiting[i])) notified++;
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

#include "shm/slab.h"

#include "os/clock.h"
#include "os/identity.h"
#include "os/memfd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* "cel", and the version of the layout. */
#define CELL_MAGIC UINT32_C(0x63656c02)

/* 1 MiB a slab, of which only touched cells are real. forkserver hands on some 250 descriptors, so one slab should do
 * for a program with many locks; a larger one would only cost address space. */
#define SLAB_CELLS 256
#define SLAB_BYTES ((size_t)SLAB_CELLS * CMP_CELL_BYTES)

static_assert(offsetof(struct cmp_cell_shm, word) == 64, "the words have a line of their own");
static_assert(offsetof(struct cmp_cell_shm, tickets) == 128, "part of the layout");
static_assert(sizeof(struct cmp_ticket_shm) == 16, "part of the layout");
static_assert(offsetof(struct cmp_cell_shm, members) + sizeof(struct cmp_members_shm) +
                      CMP_CELL_MEMBERS * sizeof(struct cmp_member_shm) <=
                  CMP_CELL_BYTES,
              "a cell is a page");

static void *map_pages(size_t size, int fd)
{
    int saved = errno, flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (map == MAP_FAILED) map = NULL;
    else (void)madvise(map, size, MADV_DONTDUMP);
    errno = saved;
    return map;
}

/* The page is all zeros and nobody else's yet. */
static void set_up(struct cmp_cell_shm *shm, enum cmp_cell_kind kind, uint64_t limit)
{
    shm->limit = limit;
    cmp_eventcount_init(&shm->changed);
    cmp_eventcount_init(&shm->crowd);
    (void)cmp_mutex_init(&shm->sweeping);
    cmp_members_init(&shm->members, CMP_CELL_MEMBERS);
    shm->kind = kind;
    shm->magic = CELL_MAGIC;
}

static bool holds(const struct cmp_cell_shm *shm, enum cmp_cell_kind kind)
{
    return shm->magic == CELL_MAGIC && shm->kind == (uint32_t)kind;
}

static struct cmp_cell_shm *page_at(const struct cmp_slab *slab, uint32_t index)
{
    return (struct cmp_cell_shm *)(slab->map + (size_t)index * CMP_CELL_BYTES);
}

int cmp_slab_create(struct cmp_slab *slab)
{
    struct cmp_slab made = {.fd = -1};
    int code = cmp_memfd_create("cmp-slab", &made.fd);
    if (code == 0) code = cmp_memfd_grow(made.fd, SLAB_BYTES);
    if (code == 0) code = cmp_memfd_seal(made.fd);
    if (code == 0 && (made.map = map_pages(SLAB_BYTES, made.fd)) == NULL) code = -ENOMEM;
    if (code < 0) {
        if (made.fd >= 0) close(made.fd);
        return code;
    }
    made.identity = cmp_identity_of(made.fd);
    set_up(page_at(&made, 0), CMP_CELL_SLAB, SLAB_CELLS);
    cmp_store(&page_at(&made, 0)->word, 1, relaxed, "slab.init"); /* nobody else has it yet */
    *slab = made;
    return 0;
}

int cmp_slab_attach(struct cmp_slab *slab, int fd)
{
    struct cmp_slab made = {.fd = fd, .identity = cmp_identity_of(fd)};
    uint64_t size;
    /* Checked before mapping: beyond the end of a shorter file, or one that shrinks later, lies SIGBUS. */
    int code = cmp_memfd_inspect(fd, &size);
    if (code == 0 && size != SLAB_BYTES) code = -EPROTO;
    if (code < 0) return code;
    if ((made.map = map_pages(SLAB_BYTES, fd)) == NULL) return -ENOMEM;
    struct cmp_cell_shm *first = page_at(&made, 0);
    struct cmp_members members;
    code = holds(first, CMP_CELL_SLAB) && first->limit == SLAB_CELLS ? 0 : -EPROTO;
    if (code == 0) code = cmp_members_attach(&members, &first->members);
    if (code < 0) {
        munmap(made.map, SLAB_BYTES);
        return code;
    }
    /* A received descriptor comes inheritable and would leak into this process's own subprocesses. */
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    *slab = made;
    return 0;
}

void cmp_slab_close(struct cmp_slab *slab)
{
    if (slab->map == NULL) return;
    munmap(slab->map, SLAB_BYTES);
    if (cmp_slab_check_fd(slab) == 0) close(slab->fd);
    *slab = (struct cmp_slab){.fd = -1};
}

int cmp_slab_check_fd(const struct cmp_slab *slab)
{
    return cmp_identity_is(slab->fd, slab->identity) ? 0 : -EBADF;
}

int cmp_slab_claim(struct cmp_slab *slab, uint32_t *index)
{
    /* Relaxed: the number alone says whose the cell is. */
    uint64_t next = cmp_rmw(fetch_add, &page_at(slab, 0)->word, 1, relaxed, "slab.claim");
    if (next >= SLAB_CELLS) return -ENOSPC;
    *index = (uint32_t)next;
    return 0;
}

static void sweep_full(void *cell)
{
    cmp_cell_sweep(cell);
}

static int open_handle(struct cmp_cell *cell, struct cmp_cell_shm *shm, bool own_page)
{
    *cell = (struct cmp_cell){.shm = shm, .own_page = own_page};
    int code = cmp_members_attach(&cell->members, &shm->members);
    if (code == 0 && cell->members.nslots != CMP_CELL_MEMBERS) code = -EPROTO;
    if (code < 0) {
        cell->shm = NULL;
        return code;
    }
    cell->members.on_full = sweep_full;
    cell->members.on_full_arg = cell;
    return 0;
}

int cmp_cell_create(struct cmp_cell *cell, enum cmp_cell_kind kind, uint64_t limit)
{
    struct cmp_cell_shm *shm = map_pages(CMP_CELL_BYTES, -1);
    if (shm == NULL) return -ENOMEM;
    set_up(shm, kind, limit);
    return open_handle(cell, shm, true);
}

int cmp_cell_create_at(struct cmp_cell *cell, struct cmp_slab *slab, uint32_t index, enum cmp_cell_kind kind,
                       uint64_t limit)
{
    assert(index > 0 && index < SLAB_CELLS);
    set_up(page_at(slab, index), kind, limit);
    return open_handle(cell, page_at(slab, index), false);
}

int cmp_cell_attach(struct cmp_cell *cell, struct cmp_slab *slab, uint32_t index, enum cmp_cell_kind kind)
{
    if (index == 0 || index >= SLAB_CELLS || !holds(page_at(slab, index), kind)) return -EPROTO;
    return open_handle(cell, page_at(slab, index), false);
}

void cmp_cell_close(struct cmp_cell *cell, bool owns)
{
    if (cell->shm == NULL) return;
    if (!owns) cmp_members_leave(&cell->members);
    if (cell->own_page) munmap(cell->shm, CMP_CELL_BYTES);
    cell->shm = NULL;
}

/* Must the cell go on naming this member, because its death is yet to be noticed by others? */
static bool named(const struct cmp_cell_shm *shm, cmp_owner owner)
{
    bool names = shm->kind == CMP_CELL_LOCK || shm->kind == CMP_CELL_RLOCK;
    return names && CMP_CELL_NAMED(cmp_load(&shm->word, acquire)) == CMP_CELL_NAMED(owner);
}

static void free_ticket(struct cmp_ticket_shm *ticket, cmp_owner dead)
{
    for (;;) {
        /* Before the owner: if the CAS succeeds, no wait but the dead one's can have begun here since; pairs with
         * [ticket.wait], by which a later wait shows no earlier owner. */
        uint32_t state = cmp_load(&ticket->state, acquire);
        if (cmp_load(&ticket->owner, acquire) != dead) return;
        /* One that was notified, be it this very moment, is left alone: its notification is for another
         * (condition.c). */
        if (CMP_TICKET_KIND(state) == CMP_TICKET_NOTIFIED) return;
        if (!cmp_cas(&ticket->state, &state, CMP_TICKET_AS(state, CMP_TICKET_IDLE), relaxed, "ticket.wipe")) continue;
        /* Idle and of a dead owner, so nobody adopts it, and nobody else sweeps: the owner is still the same. */
        cmp_store(&ticket->owner, 0, release, "ticket.reclaim"); /* pairs with the CAS of the next claimer */
        return;
    }
}

static void free_tickets(struct cmp_cell_shm *shm, cmp_owner dead)
{
    for (uint32_t i = 0; i < CMP_CELL_TICKETS; i++)
        if (cmp_load(&shm->tickets[i].owner, relaxed) == dead) free_ticket(&shm->tickets[i], dead);
}

static bool begin_sweep(struct cmp_cell_shm *shm)
{
    int code = cmp_mutex_try(&shm->sweeping);
    if (code == -EOWNERDEAD) cmp_mutex_repaired(&shm->sweeping); /* each step stands for itself: nothing to undo */
    return code == 0 || code == -EOWNERDEAD;
}

bool cmp_cell_free_tickets(struct cmp_cell *cell, cmp_owner dead)
{
    if (!begin_sweep(cell->shm)) return false;
    free_tickets(cell->shm, dead);
    cmp_mutex_unlock(&cell->shm->sweeping);
    return true;
}

bool cmp_cell_dead(struct cmp_cell *cell, cmp_owner owner, int64_t believe_ns)
{
    int64_t now_ns = cmp_now_ns();
    /* Two private words that may belong to two answers: then it is asked once too often, or believed too long by
     * what lies between the two. */
    if (cmp_load(&cell->seen_alive, relaxed) == owner && now_ns - cmp_load(&cell->seen_alive_ns, relaxed) < believe_ns)
        return false;
    if (cmp_members_dead(&cell->members, owner)) return true;
    cmp_private_store(&cell->seen_alive_ns, now_ns, relaxed);
    cmp_private_store(&cell->seen_alive, owner, relaxed);
    return false;
}

void cmp_cell_sweep(struct cmp_cell *cell)
{
    struct cmp_cell_shm *shm = cell->shm;
    if (!begin_sweep(shm)) return;
    for (uint32_t slot = 0; slot < CMP_CELL_MEMBERS; slot++) {
        cmp_owner owner = cmp_members_at(&cell->members, slot);
        if (owner == 0 || !cmp_members_dead(&cell->members, owner)) continue;
        free_tickets(shm, owner);
        if (!named(shm, owner)) cmp_members_bury(&cell->members, owner);
    }
    for (uint32_t i = 0; i < CMP_CELL_TICKETS; i++) { /* of those that found no slot */
        cmp_owner owner = cmp_load(&shm->tickets[i].owner, relaxed);
        if (!CMP_OWNER_HAS_SLOT(owner) && cmp_members_dead(&cell->members, owner)) free_tickets(shm, owner);
    }
    cmp_mutex_unlock(&shm->sweeping);
}

int cmp_cell_look(const struct cmp_cell *cell)
{
    return cell->life == NULL || cmp_life_state(cell->life) == CMP_LIFE_ON ? 0 : -ESHUTDOWN;
}

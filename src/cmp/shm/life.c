#include "shm/life.h"

#include "os/forkepoch.h"
#include "os/identity.h"
#include "os/memfd.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x6566696c2d706d63) /* "cmp-life" */
#define PAGE_BYTES 4096

static int map(struct cmp_life *life, int fd)
{
    int saved = errno, code = 0;
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) code = -errno;
    else (void)madvise(page, PAGE_BYTES, MADV_DONTDUMP);
    errno = saved;
    if (code == 0) *life = (struct cmp_life){.shm = page, .fd = fd, .identity = cmp_identity_of(fd)};
    return code;
}

int cmp_life_begin(struct cmp_life *life)
{
    int fd = -1;
    int code = cmp_memfd_create("cmp-life", &fd);
    if (code < 0) return code;
    struct cmp_life made = {.fd = -1};
    code = cmp_memfd_grow(fd, PAGE_BYTES);
    if (code == 0) code = cmp_memfd_seal(fd);
    if (code == 0) code = map(&made, fd);
    if (code == 0) code = cmp_mutex_init(&made.shm->held);
    if (code == 0) code = cmp_mutex_try(&made.shm->held);
    if (code == 0) {
        made.shm->magic = MAGIC;
        made.serving = cmp_fork_epoch();
        *life = made;
        return 0;
    }
    if (made.shm != NULL) munmap(made.shm, PAGE_BYTES);
    close(fd);
    return code;
}

int cmp_life_attach(struct cmp_life *life, int fd)
{
    struct cmp_life found;
    uint64_t size;
    int code = cmp_memfd_inspect(fd, &size);
    if (code == 0 && size != PAGE_BYTES) code = -EPROTO;
    if (code == 0) code = map(&found, fd);
    if (code < 0) return code;
    if (found.shm->magic != MAGIC) {
        munmap(found.shm, PAGE_BYTES);
        return -EPROTO;
    }
    *life = found;
    return 0;
}

void cmp_life_leave(struct cmp_life *life)
{
    if (life->shm == NULL) return;
    if (life->serving == cmp_fork_epoch()) { /* a forked child's copy is not its to close */
        cmp_life_close(life);
        cmp_mutex_unlock(&life->shm->held);
    }
    munmap(life->shm, PAGE_BYTES);
    if (cmp_life_owns_fd(life)) close(life->fd);
    *life = (struct cmp_life){.fd = -1};
}

bool cmp_life_owns_fd(const struct cmp_life *life)
{
    return cmp_identity_is(life->fd, life->identity);
}

enum cmp_life_state cmp_life_state(const struct cmp_life *life)
{
    /* acquire: what the server did before it closed; pairs with [life.close]. */
    if (cmp_load(&life->shm->closed, acquire)) return CMP_LIFE_CLOSED;
    return cmp_mutex_owner_died(&life->shm->held) ? CMP_LIFE_LOST : CMP_LIFE_ON;
}

void cmp_life_close(struct cmp_life *life)
{
    cmp_store(&life->shm->closed, 1, release, "life.close");
}

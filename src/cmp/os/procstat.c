#include "os/procstat.h"

#include "os/atomics.h"
#include "os/forkepoch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_whole(const char *path, char *text, size_t size)
{
    int saved = errno, code = 0;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        code = -errno;
    } else {
        do got = read(fd, text, size - 1);
        while (got < 0 && errno == EINTR);
        if (got < 0) code = -errno;
        close(fd);
    }
    errno = saved;
    if (code < 0) return code;
    text[got] = '\0';
    return 0;
}

/* Field 3 is the state, field 20 the number of threads, field 22 the start time; field 2, the name, may contain blanks
 * and parentheses, so counting starts at its last closing one. The state is the first thread's, which may have ended
 * before the others. */
static int parse(const char *text, uint64_t *start_ticks, bool *zombie)
{
    const char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ' || at[2] == '\0') return -EPROTO;
    bool ended = at[2] == 'Z' || at[2] == 'X';
    at += 2;
    for (int field = 3; field < 22; field++) {
        if (field == 20 && strtol(at, NULL, 10) > 1) ended = false;
        at = strchr(at, ' ');
        if (at == NULL) return -EPROTO;
        at++;
    }
    *zombie = ended;
    *start_ticks = strtoull(at, NULL, 10);
    return 0;
}

int cmp_procstat_read(int32_t pid, uint64_t *start_ticks, bool *zombie)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int code = read_whole(path, text, sizeof text);
    if (code == -ENOENT && access("/proc/self/stat", F_OK) == 0) return -ESRCH;
    return code < 0 ? code : parse(text, start_ticks, zombie);
}

/* Both are facts of a process, so a forked child reads them anew: `epoch` says whose they are. Threads that race
 * here store the same values. */
static struct {
    _Atomic uint32_t epoch;
    _Atomic uint64_t value;
} own_start, own_namespace;

uint64_t cmp_procstat_own_start(void)
{
    uint32_t epoch = cmp_fork_epoch();
    if (cmp_load(&own_start.epoch, acquire) == epoch)
        return cmp_load(&own_start.value, relaxed);
    uint64_t start = 0;
    bool zombie;
    /* Not remembered when it failed for want of a descriptor: the next asker may have one. */
    if (cmp_procstat_read(getpid(), &start, &zombie) < 0) return 0;
    cmp_private_store(&own_start.value, start, relaxed);
    cmp_private_store(&own_start.epoch, epoch, release);
    return start;
}

uint64_t cmp_procstat_pid_namespace(void)
{
    uint32_t epoch = cmp_fork_epoch();
    if (cmp_load(&own_namespace.epoch, acquire) == epoch)
        return cmp_load(&own_namespace.value, relaxed);
    struct stat facts;
    int saved = errno;
    uint64_t inode = stat("/proc/self/ns/pid", &facts) == 0 ? (uint64_t)facts.st_ino : 0;
    errno = saved;
    cmp_private_store(&own_namespace.value, inode, relaxed);
    cmp_private_store(&own_namespace.epoch, epoch, release);
    return inode;
}

#include "os/child.h"

#include "os/clock.h"

#include <errno.h>
#include <sys/wait.h>
#include <time.h>

#define FIRST_PAUSE_NS (CMP_MS / 4)
#define LAST_PAUSE_NS (10 * CMP_MS)

int cmp_child_wait(pid_t pid)
{
    int saved = errno, code = 0;
    siginfo_t unused;
    if (waitid(P_PID, (id_t)pid, &unused, WEXITED | WNOWAIT) < 0) code = -errno;
    errno = saved;
    return code;
}

/* -EAGAIN while it lives. */
static int look(pid_t pid)
{
    siginfo_t found = {.si_pid = 0};
    if (waitid(P_PID, (id_t)pid, &found, WEXITED | WNOWAIT | WNOHANG) < 0) return -errno;
    return found.si_pid != 0 ? 0 : -EAGAIN;
}

bool cmp_child_has_ended(pid_t pid)
{
    int saved = errno;
    bool ended = look(pid) == 0;
    errno = saved;
    return ended;
}

int cmp_child_watch(pid_t pid, int64_t deadline_ns)
{
    int saved = errno, code;
    int64_t pause_ns = FIRST_PAUSE_NS;
    while ((code = look(pid)) == -EAGAIN) {
        int64_t left_ns = deadline_ns - cmp_now_ns();
        if (left_ns <= 0) {
            code = -ETIMEDOUT;
            break;
        }
        struct timespec pause = cmp_timespec(pause_ns < left_ns ? pause_ns : left_ns);
        if (nanosleep(&pause, NULL) < 0) {
            code = -EINTR;
            break;
        }
        if (pause_ns < LAST_PAUSE_NS) pause_ns *= 2;
    }
    errno = saved;
    return code;
}

int cmp_child_reap(pid_t pid, int *exitcode)
{
    int saved = errno, status = 0;
    pid_t got;
    do got = waitpid(pid, &status, WNOHANG);
    while (got < 0 && errno == EINTR);
    int code = got < 0 ? -errno : got == 0 ? -EAGAIN : 0;
    errno = saved;
    if (code == 0) *exitcode = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    return code;
}

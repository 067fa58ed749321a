#include "os/child.h"

#include <errno.h>
#include <sys/wait.h>

int cmp_child_wait(pid_t pid)
{
    int saved = errno, code = 0;
    siginfo_t unused;
    if (waitid(P_PID, (id_t)pid, &unused, WEXITED | WNOWAIT) < 0) code = -errno;
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

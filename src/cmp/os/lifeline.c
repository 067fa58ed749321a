#include "os/lifeline.h"

#include "os/atomics.h"
#include "os/clock.h"
#include "os/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Written before the signal can come, read by the handler. The owner tells a fork of the armed process, which has
 * inherited the handler, from that process. */
static volatile sig_atomic_t armed_parent, armed_owner, armed_pidfd = -1;
static pid_t piped_parent; /* of who is armed by a pipe; else 0 */
static int armed_signal;
static pid_t server;

/* What goes with the process. `left_by` is written last: whom the paths are for, which a fork of it is not. */
static char left_file[PATH_MAX], left_folder[PATH_MAX];
static volatile sig_atomic_t left_by;

/* A dying process gives its descriptors up a moment before it counts as dead. Nobody gives the pipe up in life. */
#define DYING_NS (1000 * CMP_MS)

/* Calls that a signal handler may make, no others. */
static _Noreturn void end(void)
{
    if (left_by == getpid()) {
        (void)unlink(left_file);
        if (left_folder[0] != '\0') (void)rmdir(left_folder);
    }
    _exit(CMP_LIFELINE_STATUS);
}

static void on_signal(int number)
{
    (void)number;
    if (getpid() != armed_owner) return;
    if (getppid() != armed_parent
        || (armed_pidfd >= 0 && cmp_pidfd_wait(armed_pidfd, cmp_now_ns() + DYING_NS) == 0))
        end();
}

void cmp_lifeline_look(void)
{
    if (armed_owner == 0 || getpid() != armed_owner) return;
    int saved = errno;
    /* Not by armed_pidfd: this process may have closed it, and have got the number again for something else. */
    if (getppid() != armed_parent || (piped_parent != 0 && kill(piped_parent, 0) < 0 && errno == ESRCH)) end();
    errno = saved;
}

int cmp_lifeline_remove(const char *file, const char *folder)
{
    if (folder == NULL) folder = "";
    if (strlen(file) >= sizeof left_file || strlen(folder) >= sizeof left_folder) return -ENAMETOOLONG;
    left_by = 0;
    strcpy(left_file, file);
    strcpy(left_folder, folder);
    cmp_fence(release); /* for the handler: the paths are whole before they are ours */
    left_by = getpid();
    return 0;
}

static bool is_free(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_DFL;
}

/* Of the real-time ones from the far end: programs that use them themselves count from SIGRTMIN. */
static int choose_signal(void)
{
    if (is_free(SIGURG)) return SIGURG;
    for (int number = SIGRTMAX; number >= SIGRTMIN; number--)
        if (is_free(number)) return number;
    return 0;
}

static int install_handler(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t mask;
    armed_owner = getpid();
    if (armed_signal == 0) armed_signal = choose_signal();
    if (armed_signal == 0) return -EBUSY;
    sigemptyset(&mask);
    sigaddset(&mask, armed_signal);
    if (sigaction(armed_signal, &action, NULL) < 0 || sigprocmask(SIG_UNBLOCK, &mask, NULL) < 0) return -errno;
    return 0;
}

/* The handler is there: who forked us gives the signal. */
static int watch_parent(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, armed_signal) < 0) return -errno;
    /* It may have ended before the line above; then nobody sends the signal. */
    if (getppid() == parent) return 0;
    (void)prctl(PR_SET_PDEATHSIG, 0);
    return -ESRCH;
}

int cmp_lifeline_arm(pid_t parent)
{
    int saved = errno, code;
    if (getppid() == 0) parent = 0; /* it is in an outer pid namespace, and has no number here */
    armed_pidfd = -1; /* of a parent that was armed by a pipe */
    piped_parent = 0;
    armed_parent = parent;
    code = install_handler();
    if (code == 0) code = watch_parent(parent);
    if (code < 0 && code != -EBUSY) armed_owner = 0;
    errno = saved;
    return code;
}

void cmp_lifeline_serve(void)
{
    server = getpid();
}

int cmp_lifeline_arm_by_pipe(pid_t parent, int pipe)
{
    int saved = errno, pidfd = -1, flags;
    int code = cmp_pidfd_open(parent, &pidfd);
    if (code < 0) return code;
    armed_pidfd = pidfd;
    piped_parent = parent;
    armed_parent = server != 0 ? server : getppid();
    code = install_handler();
    if (code == 0
        && (fcntl(pipe, F_SETOWN, getpid()) < 0 || fcntl(pipe, F_SETSIG, armed_signal) < 0
            || (flags = fcntl(pipe, F_GETFL)) < 0 || fcntl(pipe, F_SETFL, flags | O_ASYNC) < 0))
        code = -errno;
    if (code == 0 && cmp_pidfd_dead(pidfd)) code = -ESRCH;
    if (code == 0) code = watch_parent(armed_parent);
    errno = saved;
    if (code < 0) {
        if (code != -EBUSY) armed_owner = 0;
        armed_pidfd = -1;
        close(pidfd);
    }
    return code;
}

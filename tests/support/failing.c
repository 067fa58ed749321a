/* Preloaded before the C library: makes the n-th and the following calls of one function fail, as they do in a machine
 * or a sandbox that has run out or refuses. Steered from Python by failing_arm and failing_disarm (failing.py). */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static char name[64];
static _Atomic long passes, failures, hits;
static int error;
static pid_t here;
static bool in_children;

/* In this process, or (in_children) in all others that inherit it. */
void failing_arm(const char *function, long after, long count, int with, int others)
{
    passes = after;
    failures = count;
    hits = 0;
    error = with;
    here = getpid();
    in_children = others != 0;
    strncpy(name, function, sizeof name - 1);
}

/* How often it failed here. */
long failing_disarm(void)
{
    name[0] = '\0';
    return hits;
}

static bool fails(const char *function)
{
    if (strcmp(name, function) != 0 || (getpid() == here) == in_children) return false;
    if (passes-- > 0 || failures-- <= 0) return false;
    hits++;
    errno = error;
    return true;
}

#define INSTEAD(type, function, failed, parameters, arguments)                           \
    type function parameters                                                             \
    {                                                                                    \
        static type(*next) parameters;                                                   \
        if (next == NULL) next = (type(*) parameters)dlsym(RTLD_NEXT, #function);        \
        return fails(#function) ? (failed) : next arguments;                             \
    }

INSTEAD(int, memfd_create, -1, (const char *label, unsigned flags), (label, flags))
INSTEAD(int, eventfd, -1, (unsigned count, int flags), (count, flags))
INSTEAD(void *, mmap, MAP_FAILED, (void *at, size_t n, int prot, int flags, int fd, off_t off),
        (at, n, prot, flags, fd, off))
INSTEAD(int, madvise, -1, (void *at, size_t n, int advice), (at, n, advice))
INSTEAD(int, ftruncate, -1, (int fd, off_t size), (fd, size))
INSTEAD(int, fallocate, -1, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n))
INSTEAD(ssize_t, pwrite, -1, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
INSTEAD(pid_t, fork, -1, (void), ())
INSTEAD(int, pipe2, -1, (int ends[2], int flags), (ends, flags))
INSTEAD(int, socket, -1, (int domain, int type, int protocol), (domain, type, protocol))
INSTEAD(ssize_t, sendmsg, -1, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
INSTEAD(ssize_t, recvmsg, -1, (int fd, struct msghdr *message, int flags), (fd, message, flags))
INSTEAD(int, epoll_create1, -1, (int flags), (flags))
INSTEAD(int, poll, -1, (struct pollfd *entries, nfds_t n, int timeout), (entries, n, timeout))
INSTEAD(int, ppoll, -1, (struct pollfd *entries, nfds_t n, const struct timespec *timeout, const sigset_t *mask),
        (entries, n, timeout, mask))
INSTEAD(int, pthread_create, error,
        (pthread_t *made, const pthread_attr_t *how, void *(*body)(void *), void *arg), (made, how, body, arg))

#define FOUR_MORE(first)                                                                           \
    va_list rest;                                                                                  \
    va_start(rest, first);                                                                         \
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long), d = va_arg(rest, long); \
    va_end(rest)

int fcntl(int fd, int command, ...)
{
    static int (*next)(int, int, ...);
    FOUR_MORE(command);
    if (next == NULL) next = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl");
    return fails("fcntl") ? -1 : next(fd, command, a, b, c, d);
}

int prctl(int option, ...)
{
    static int (*next)(int, ...);
    FOUR_MORE(option);
    if (next == NULL) next = (int (*)(int, ...))dlsym(RTLD_NEXT, "prctl");
    return fails("prctl") ? -1 : next(option, a, b, c, d);
}

/* Of the calls made by number, pidfd_open can be made to fail. */
long syscall(long number, ...)
{
    static long (*next)(long, ...);
    va_list rest;
    va_start(rest, number);
    long args[6];
    for (int i = 0; i < 6; i++) args[i] = va_arg(rest, long);
    va_end(rest);
    if (next == NULL) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_pidfd_open && fails("pidfd_open")) return -1;
    return next(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

#include "os/scm.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MARKER 'D'

/* The kernel wants the control buffer aligned as its header is. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * CMP_SCM_MOST)];
};

int cmp_scm_send(int socket_fd, const int *fds, int nfds)
{
    if (nfds < 1 || nfds > CMP_SCM_MOST) return -EINVAL;
    char marker = MARKER;
    struct iovec part = {.iov_base = &marker, .iov_len = 1};
    union control control = {0};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds),
    };
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
    memcpy(CMSG_DATA(rights), fds, sizeof(int) * (size_t)nfds);
    int saved = errno, code;
    do code = sendmsg(socket_fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
    while (code == -EINTR);
    errno = saved;
    return code;
}

/* Every descriptor that rode on the message: what is not handed out is closed. */
static int collect(struct msghdr *message, int *fds, int most)
{
    int count = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        size_t carried = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < carried; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
            if (count < most)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

/* One message: 0; -EPIPE: there will be none. */
static int receive(int socket_fd, struct msghdr *message)
{
    int saved = errno, code;
    do {
        ssize_t got = recvmsg(socket_fd, message, MSG_CMSG_CLOEXEC);
        code = got > 0 ? 0 : got == 0 ? -EPIPE : -errno;
    } while (code == -EINTR);
    errno = saved;
    return code;
}

int cmp_scm_receive(int socket_fd, int *fds, int nfds)
{
    if (nfds < 1 || nfds > CMP_SCM_MOST) return -EINVAL;
    char marker = 0;
    struct iovec part = {.iov_base = &marker, .iov_len = 1};
    union control control = {0};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    int code = receive(socket_fd, &message);
    if (code < 0) return code;
    int received[CMP_SCM_MOST];
    int count = collect(&message, received, CMP_SCM_MOST);
    if (count == nfds && marker == MARKER) {
        memcpy(fds, received, sizeof(int) * (size_t)nfds);
        return 0;
    }
    for (int i = 0; i < count; i++) close(received[i]);
    /* With no room for descriptors the kernel drops them and says so in the flags. */
    return message.msg_flags & MSG_CTRUNC ? -EMFILE : -EPROTO;
}

/* Passing descriptors over a UNIX socket (SCM_RIGHTS).
 *
 * One call, one message: a single marker byte with up to CMP_SCM_MOST descriptors riding on it. Both ends block as
 * the socket does; EINTR is retried inside. */
#ifndef CMP_OS_SCM_H
#define CMP_OS_SCM_H

#define CMP_SCM_MOST 8

/* 0, or a negative errno: -EINVAL for a count out of range, -EPIPE when the other end is gone (never a signal),
 * -EOPNOTSUPP or the like when the socket is not a UNIX one. */
int cmp_scm_send(int socket_fd, const int *fds, int nfds);

/* Receives exactly nfds descriptors, all close-on-exec. 0; -EPIPE: the other end closed; -EPROTO: something else
 * came (whatever descriptors came with it are closed); -EMFILE: this process has no room for them. */
int cmp_scm_receive(int socket_fd, int *fds, int nfds);

#endif

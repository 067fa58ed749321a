/* Lifeline: a process that ends when its parent does, however that ended, SIGKILL included.
 *
 * The kernel sends a signal when the *thread* that forked us ends. So the signal has a handler, which looks whether the
 * parent process is still ours, and if it is returns: the setting stays armed for the parent's remaining threads.
 * Otherwise the handler ends the process by _exit(CMP_LIFELINE_STATUS), whatever code is just running, within half a
 * millisecond. Children of this process are not armed by it. A program that it execs keeps the setting and loses the
 * handler: so the signal is SIGURG, which does nothing then; or, where this process has a handler for that, a real-time
 * signal, of which that program dies. */
#ifndef CMP_OS_LIFELINE_H
#define CMP_OS_LIFELINE_H

#include <sys/types.h>

#define CMP_LIFELINE_STATUS 143 /* as a shell says of SIGTERM, by which daemons end otherwise */

/* Arms this process; `parent` is whose child it believes to be. -ESRCH: that one has ended already, and nothing is
 * armed any more; -EBUSY: the program has handlers on all these signals. Not for two threads at once. A parent in an
 * outer pid namespace cannot be seen to end: this process lives on. */
int cmp_lifeline_arm(pid_t parent);

/* The same for a process that is somebody else's child but shall end with `parent`: a fork server's. `pipe` is the read
 * end of a pipe whose write end `parent` holds; that it is given up makes the kernel send the signal (later, where
 * `parent` has forked others that hold it, too). It ends with the server as well, which alone can tell `parent` that it
 * has ended: without the server it counts as dead. Both descriptors stay in use. -ESRCH, -EBUSY, -EBADF, -EMFILE,
 * -ENFILE. */
int cmp_lifeline_arm_by_pipe(pid_t parent, int pipe);

/* For the fork server, before it forks: who arms by pipe then knows whose child it was born as. */
void cmp_lifeline_serve(void);

/* The signal may not reach this process: the kernel forgets the setting when the process changes its user, and a
 * program can block the signal or take the handler away. So whoever waits looks now and then by himself. Ends the
 * process as the handler would; does nothing where nothing was armed. After -EBUSY, no signal to be had, it is all
 * there is. */
void cmp_lifeline_look(void);

/* When the lifeline ends this process, it first removes this file and then, if it is empty by then, this folder (NULL:
 * none). Absolute paths. -ENAMETOOLONG. Not while another thread says the same. */
int cmp_lifeline_remove(const char *file, const char *folder);

#endif

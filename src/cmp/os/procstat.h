/* What /proc says of a process. A pid alone names nobody (it is reused); pid and start time do. */
#ifndef CMP_OS_PROCSTAT_H
#define CMP_OS_PROCSTAT_H

#include <stdbool.h>
#include <stdint.h>

/* When the process started, in clock ticks since boot, and whether it is a zombie with all its threads (or
 * already dead). -ESRCH: no such process, -EMFILE, -ENFILE: no descriptor left to look, -ENOENT: /proc is not
 * mounted. */
int cmp_procstat_read(int32_t pid, uint64_t *start_ticks, bool *zombie);

/* The same of this process, read once per process; 0 if it cannot be known. */
uint64_t cmp_procstat_own_start(void);

/* Inode of this process's pid namespace, read once per process; 0 if it cannot be known. */
uint64_t cmp_procstat_pid_namespace(void);

#endif

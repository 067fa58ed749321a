/* Meminfo: how much memory there is to be had. */
#ifndef CMP_OS_MEMINFO_H
#define CMP_OS_MEMINFO_H

#include <stdint.h>

/* The smaller of the machine's MemAvailable and what each memory cgroup around this process leaves (limit minus
 * usage, easily dropped file cache not counted as used). UINT64_MAX if nothing can be known. Opens a few files: some
 * 100 us, for rare use. */
uint64_t cmp_meminfo_available(void);

#endif

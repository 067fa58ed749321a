#include "os/meminfo.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define UNKNOWN UINT64_MAX

/* One file with one number. "max", a missing file: unknown. */
static uint64_t number_in(const char *folder, const char *name)
{
    char path[PATH_MAX];
    uint64_t value = UNKNOWN;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return UNKNOWN;
    FILE *file = fopen(path, "re");
    if (file == NULL) return UNKNOWN;
    if (fscanf(file, "%" SCNu64, &value) != 1) value = UNKNOWN;
    fclose(file);
    return value;
}

/* The number after `key` in a file of "key number" lines. */
static uint64_t number_after(const char *path, const char *key)
{
    char line[256];
    uint64_t value = UNKNOWN;
    FILE *file = fopen(path, "re");
    if (file == NULL) return UNKNOWN;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%" SCNu64, &value) == 1) break;
    fclose(file);
    return value;
}

struct names {
    const char *limit, *usage, *cache;
};

static const struct names version_2 = {"memory.max", "memory.current", "inactive_file "};
static const struct names version_1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "};

static uint64_t left_in(const char *folder, const struct names *names)
{
    char stat_path[PATH_MAX];
    uint64_t limit = number_in(folder, names->limit), usage = number_in(folder, names->usage);
    if (limit == UNKNOWN || usage == UNKNOWN) return UNKNOWN;
    if (snprintf(stat_path, sizeof stat_path, "%s/memory.stat", folder) < (int)sizeof stat_path) {
        uint64_t cache = number_after(stat_path, names->cache);
        if (cache != UNKNOWN) usage = cache < usage ? usage - cache : 0;
    }
    return usage < limit ? limit - usage : 0;
}

/* The group and all above it: each has a limit of its own. Inside a container the path may name folders that only
 * the host sees; they are passed by, and the root is what the container has. */
static uint64_t least_upwards(const char *root, const char *path, const struct names *names)
{
    char folder[PATH_MAX];
    if (snprintf(folder, sizeof folder, "%s%s", root, path) >= (int)sizeof folder) return UNKNOWN;
    uint64_t least = UNKNOWN;
    for (;;) {
        uint64_t left = left_in(folder, names);
        if (left < least) least = left;
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < strlen(root)) return least;
        *slash = '\0';
    }
}

static bool lists_memory(const char *controllers)
{
    for (const char *at = controllers; (at = strstr(at, "memory")) != NULL; at += 6)
        if ((at == controllers || at[-1] == ',') && (at[6] == '\0' || at[6] == ',')) return true;
    return false;
}

static uint64_t cgroup_left(void)
{
    char line[PATH_MAX];
    uint64_t least = UNKNOWN;
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) return UNKNOWN;
    while (fgets(line, sizeof line, file) != NULL) { /* "number:controllers:path" */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (path == NULL) continue;
        *controllers++ = '\0';
        *path++ = '\0';
        if (strcmp(path, "/") == 0) path[0] = '\0';
        uint64_t left = UNKNOWN;
        if (controllers[0] == '\0') left = least_upwards("/sys/fs/cgroup", path, &version_2);
        else if (lists_memory(controllers)) left = least_upwards("/sys/fs/cgroup/memory", path, &version_1);
        if (left < least) least = left;
    }
    fclose(file);
    return least;
}

uint64_t cmp_meminfo_available(void)
{
    int saved = errno;
    uint64_t available = number_after("/proc/meminfo", "MemAvailable:"), left = cgroup_left();
    errno = saved;
    if (available != UNKNOWN) available = available > UINT64_MAX / 1024 ? UNKNOWN : available * 1024;
    return left < available ? left : available;
}

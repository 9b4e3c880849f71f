/* SPDX-License-Identifier: MIT */
#include "pool/hostsize.h"

#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/path.h"

enum { FILE_MAX = 64 * 1024, MAX_DEPTH = 4, MAX_LEVELS = 32 };

/* False when ROOT/path cannot be read or is empty. */
static bool root_read(const char *root, const char *path, struct pv_buf *out)
{
    cleanup_free char *p = pv_xasprintf("%s%s", root, path);

    pv_buf_free(out);
    return access(p, R_OK) == 0 && pv_read_file(p, FILE_MAX, out, NULL) == 0 && out->data;
}

/* The number behind KEY at the begin of a line, times unit; 0 without such a line. */
static uint64_t stat_field(const struct pv_buf *b, const char *key, uint64_t unit)
{
    size_t n = strlen(key);

    for (const char *line = b->data; line && *line;) {
        if (!strncmp(line, key, n))
            return strtoull(line + n, NULL, 10) * unit;
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return 0;
}

static unsigned host_affinity(void)
{
    long n = sysconf(_SC_NPROCESSORS_CONF);
    cpu_set_t *set = CPU_ALLOC(n > 1024 ? (size_t)n : 1024);
    size_t size = CPU_ALLOC_SIZE(n > 1024 ? (size_t)n : 1024);
    int count = 0;

    if (set && sched_getaffinity(0, size, set) == 0)
        count = CPU_COUNT_S(size, set);
    CPU_FREE(set);
    return count > 0 ? (unsigned)count : 1;
}

/* ---- control groups ---- */

/* One kind of hierarchy: its mount points and the names of its files. */
struct hierarchy {
    const char *controller; /* in /proc/self/cgroup; "": version 2 */
    const char *mounts[3];
    const char *limit, *usage, *stat;     /* memory */
    const char *stat_keys[3];             /* of memory that the kernel can reclaim */
    const char *cpu_max, *quota, *period; /* one file with both, or two */
};

static const struct hierarchy hierarchies[] = {
    {.controller = "",
     .mounts = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"},
     .limit = "memory.max",
     .usage = "memory.current",
     .stat = "memory.stat",
     .stat_keys = {"inactive_file ", "active_file ", "slab_reclaimable "},
     .cpu_max = "cpu.max"},
    {.controller = "memory",
     .mounts = {"/sys/fs/cgroup/memory"},
     .limit = "memory.limit_in_bytes",
     .usage = "memory.usage_in_bytes",
     .stat = "memory.stat",
     .stat_keys = {"total_inactive_file ", "total_active_file "}},
    {.controller = "cpu",
     .mounts = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"},
     .quota = "cpu.cfs_quota_us",
     .period = "cpu.cfs_period_us"},
};

static bool group_read(const char *root, const char *dir, const char *name, struct pv_buf *out)
{
    cleanup_free char *path = pv_xasprintf("%s/%s", dir, name);

    return root_read(root, path, out);
}

static void group_limit_memory(const char *root, const char *dir, const struct hierarchy *hi,
                               struct pv_host *h)
{
    cleanup_buf struct pv_buf b = {0};
    uint64_t limit, used, drop = 0;

    if (!group_read(root, dir, hi->limit, &b) || !strncmp(b.data, "max", 3))
        return;
    limit = strtoull(b.data, NULL, 10);
    if (limit >= UINT64_C(1) << 60) /* "none" in version 1 */
        return;
    if (limit < h->memory)
        h->memory = limit;
    if (!group_read(root, dir, hi->usage, &b))
        return;
    used = strtoull(b.data, NULL, 10);
    if (group_read(root, dir, hi->stat, &b))
        for (size_t i = 0; i < PV_ARRAY_LEN(hi->stat_keys) && hi->stat_keys[i]; i++)
            drop += stat_field(&b, hi->stat_keys[i], 1);
    used = used > drop ? used - drop : 0;
    limit = limit > used ? limit - used : 0;
    if (limit < h->available)
        h->available = limit;
}

static void group_limit_cpus(const char *root, const char *dir, const struct hierarchy *hi, struct pv_host *h)
{
    cleanup_buf struct pv_buf b = {0};
    long long quota = 0, period = 0, n;

    if (hi->cpu_max) {
        if (!group_read(root, dir, hi->cpu_max, &b) || sscanf(b.data, "%lld %lld", &quota, &period) != 2)
            return; /* "max 100000" */
    } else {
        if (!group_read(root, dir, hi->quota, &b))
            return;
        quota = atoll(b.data);
        if (!group_read(root, dir, hi->period, &b))
            return;
        period = atoll(b.data);
    }
    if (quota <= 0 || period <= 0)
        return;
    n = (quota + period - 1) / period;
    if (n < (long long)h->cpus)
        h->cpus = (unsigned)n;
}

/*
 * Applies the limits of the group and of all groups above it.  In a container `group` may be a path of the
 * host, of which only the mount point itself exists.
 */
static void hierarchy_limit(const char *root, const struct hierarchy *hi, const char *group,
                            struct pv_host *h)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(hi->mounts) && hi->mounts[i]; i++) {
        size_t base = strlen(hi->mounts[i]);
        cleanup_free char *dir = pv_xasprintf("%s%s", hi->mounts[i], group);

        for (int level = 0; level < MAX_LEVELS; level++) {
            size_t n = strlen(dir);

            while (n > base && dir[n - 1] == '/')
                dir[--n] = '\0';
            if (hi->limit)
                group_limit_memory(root, dir, hi, h);
            if (hi->cpu_max || hi->quota)
                group_limit_cpus(root, dir, hi, h);
            if (n <= base)
                break;
            while (n > base && dir[n - 1] != '/')
                dir[--n] = '\0';
        }
    }
}

/* True when the comma-separated list holds the word. */
static bool list_has_word(const char *list, size_t n, const char *word)
{
    size_t len = strlen(word);

    if (n == 0 || len == 0)
        return n == 0 && len == 0;
    for (size_t at = 0; at < n;) {
        size_t end = at;

        while (end < n && list[end] != ',')
            end++;
        if (end - at == len && !memcmp(list + at, word, len))
            return true;
        at = end + 1;
    }
    return false;
}

static void host_limit_by_groups(const char *root, struct pv_host *h)
{
    cleanup_buf struct pv_buf b = {0};
    char *save = NULL;

    if (!root_read(root, "/proc/self/cgroup", &b))
        return;
    /* "0::/user.slice" or "4:cpu,cpuacct:/user.slice" */
    for (char *line = strtok_r(b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;

        for (size_t i = 0; group && i < PV_ARRAY_LEN(hierarchies); i++)
            if (list_has_word(list + 1, (size_t)(group - list - 1), hierarchies[i].controller))
                hierarchy_limit(root, &hierarchies[i], group + 1, h);
    }
}

void pv_host_measure(const char *root, struct pv_host *h)
{
    cleanup_buf struct pv_buf b = {0};

    *h = (struct pv_host){.cpus = host_affinity()};
    if (root_read(root, "/proc/meminfo", &b)) {
        h->memory = stat_field(&b, "MemTotal:", 1024);
        h->available = stat_field(&b, "MemAvailable:", 1024);
        if (!h->available)
            h->available = stat_field(&b, "MemFree:", 1024);
    }
    host_limit_by_groups(root, h);
    if (h->available > h->memory)
        h->available = h->memory;
}

/* ---- memory of VMs ---- */

static uint64_t process_vm_memory(const char *root, pid_t pid, int depth)
{
    cleanup_buf struct pv_buf b = {0};
    cleanup_free char *comm = pv_xasprintf("/proc/%d/comm", (int)pid);
    cleanup_free char *rollup = pv_xasprintf("/proc/%d/smaps_rollup", (int)pid);
    cleanup_free char *children = pv_xasprintf("/proc/%d/task/%d/children", (int)pid, (int)pid);
    uint64_t sum = 0;
    bool qemu;
    char *save = NULL;

    if (!root_read(root, comm, &b))
        return 0;
    qemu = !strncmp(b.data, "qemu-", 5);
    if (root_read(root, rollup, &b)) {
        /* A file's process maps the shared memory of its VMs; its anonymous memory is not theirs. */
        sum = stat_field(&b, "Pss_Shmem:", 1024);
        if (qemu)
            sum += stat_field(&b, "Pss_Anon:", 1024);
    }
    if (qemu || depth == 0 || !root_read(root, children, &b))
        return sum;
    for (char *word = strtok_r(b.data, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
        sum += process_vm_memory(root, (pid_t)atoi(word), depth - 1);
    return sum;
}

uint64_t pv_host_vm_memory(const char *root, pid_t pid)
{
    return process_vm_memory(root, pid, MAX_DEPTH);
}

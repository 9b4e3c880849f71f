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

/* False when there is no such file; a string otherwise. */
static bool slurp(const char *root, const char *path, struct pv_buf *out)
{
    cleanup_free char *p = pv_xasprintf("%s%s", root, path);

    pv_buf_free(out);
    return access(p, R_OK) == 0 && pv_read_file(p, FILE_MAX, out, NULL) == 0 && out->data;
}

/* The number behind "\nKEY" (or at the very beginning), times unit; 0 when it is not there. */
static uint64_t field(const struct pv_buf *b, const char *key, uint64_t unit)
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

static unsigned affinity(void)
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

/* One kind of hierarchy: where it is mounted and what its files are called. */
struct hierarchy {
    const char *controller; /* in /proc/self/cgroup; "": version 2 */
    const char *mounts[3];
    const char *limit, *usage, *stat;     /* memory */
    const char *stat_keys[3];             /* of what can be dropped */
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

static bool in_group(const char *root, const char *dir, const char *name, struct pv_buf *out)
{
    cleanup_free char *path = pv_xasprintf("%s/%s", dir, name);

    return slurp(root, path, out);
}

static void limit_memory(const char *root, const char *dir, const struct hierarchy *hi, struct pv_host *h)
{
    cleanup_buf struct pv_buf b = {0};
    uint64_t limit, used, drop = 0;

    if (!in_group(root, dir, hi->limit, &b) || !strncmp(b.data, "max", 3))
        return;
    limit = strtoull(b.data, NULL, 10);
    if (limit >= UINT64_C(1) << 60) /* version 1 for none */
        return;
    if (limit < h->memory)
        h->memory = limit;
    if (!in_group(root, dir, hi->usage, &b))
        return;
    used = strtoull(b.data, NULL, 10);
    if (in_group(root, dir, hi->stat, &b))
        for (size_t i = 0; i < PV_ARRAY_LEN(hi->stat_keys) && hi->stat_keys[i]; i++)
            drop += field(&b, hi->stat_keys[i], 1);
    used = used > drop ? used - drop : 0;
    limit = limit > used ? limit - used : 0;
    if (limit < h->available)
        h->available = limit;
}

static void limit_cpus(const char *root, const char *dir, const struct hierarchy *hi, struct pv_host *h)
{
    cleanup_buf struct pv_buf b = {0};
    long long quota = 0, period = 0, n;

    if (hi->cpu_max) {
        if (!in_group(root, dir, hi->cpu_max, &b) || sscanf(b.data, "%lld %lld", &quota, &period) != 2)
            return; /* "max 100000" */
    } else {
        if (!in_group(root, dir, hi->quota, &b))
            return;
        quota = atoll(b.data);
        if (!in_group(root, dir, hi->period, &b))
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
 * The group and all above it, as far as they are to be seen: in a container the path may be one of the
 * host's, of which only the mount's own directory is there.
 */
static void limit_by(const char *root, const struct hierarchy *hi, const char *group, struct pv_host *h)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(hi->mounts) && hi->mounts[i]; i++) {
        size_t base = strlen(hi->mounts[i]);
        cleanup_free char *dir = pv_xasprintf("%s%s", hi->mounts[i], group);

        for (int level = 0; level < MAX_LEVELS; level++) {
            size_t n = strlen(dir);

            while (n > base && dir[n - 1] == '/')
                dir[--n] = '\0';
            if (hi->limit)
                limit_memory(root, dir, hi, h);
            if (hi->cpu_max || hi->quota)
                limit_cpus(root, dir, hi, h);
            if (n <= base)
                break;
            while (n > base && dir[n - 1] != '/')
                dir[--n] = '\0';
        }
    }
}

/* True when the comma-separated list holds the word. */
static bool lists(const char *list, size_t n, const char *word)
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

static void limit_by_groups(const char *root, struct pv_host *h)
{
    cleanup_buf struct pv_buf b = {0};
    char *save = NULL;

    if (!slurp(root, "/proc/self/cgroup", &b))
        return;
    /* "0::/user.slice" or "4:cpu,cpuacct:/user.slice" */
    for (char *line = strtok_r(b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;

        for (size_t i = 0; group && i < PV_ARRAY_LEN(hierarchies); i++)
            if (lists(list + 1, (size_t)(group - list - 1), hierarchies[i].controller))
                limit_by(root, &hierarchies[i], group + 1, h);
    }
}

void pv_host_measure(const char *root, struct pv_host *h)
{
    cleanup_buf struct pv_buf b = {0};

    *h = (struct pv_host){.cpus = affinity()};
    if (slurp(root, "/proc/meminfo", &b)) {
        h->memory = field(&b, "MemTotal:", 1024);
        h->available = field(&b, "MemAvailable:", 1024);
        if (!h->available)
            h->available = field(&b, "MemFree:", 1024);
    }
    limit_by_groups(root, h);
    if (h->available > h->memory)
        h->available = h->memory;
}

/* ---- what VMs use ---- */

static uint64_t vm_memory(const char *root, pid_t pid, int depth)
{
    cleanup_buf struct pv_buf b = {0};
    cleanup_free char *comm = pv_xasprintf("/proc/%d/comm", (int)pid);
    cleanup_free char *rollup = pv_xasprintf("/proc/%d/smaps_rollup", (int)pid);
    cleanup_free char *children = pv_xasprintf("/proc/%d/task/%d/children", (int)pid, (int)pid);
    uint64_t sum = 0;
    bool qemu;
    char *save = NULL;

    if (!slurp(root, comm, &b))
        return 0;
    qemu = !strncmp(b.data, "qemu-", 5);
    if (slurp(root, rollup, &b)) {
        /* A process of ours maps the memory of its VMs too; the rest of it is its own affair. */
        sum = field(&b, "Pss_Shmem:", 1024);
        if (qemu)
            sum += field(&b, "Pss_Anon:", 1024);
    }
    if (qemu || depth == 0 || !slurp(root, children, &b))
        return sum;
    for (char *word = strtok_r(b.data, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
        sum += vm_memory(root, (pid_t)atoi(word), depth - 1);
    return sum;
}

uint64_t pv_host_vm_memory(const char *root, pid_t pid)
{
    return vm_memory(root, pid, MAX_DEPTH);
}

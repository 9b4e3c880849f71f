/* SPDX-License-Identifier: MIT */
/* Made-up trees of /proc and /sys. */
#include "util/test.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/hostsize.h"
#include "util/mem.h"
#include "util/path.h"

#define M (UINT64_C(1) << 20)

static char root[] = "/tmp/pv-hostsize.XXXXXX";

static void put_file(const char *path, const char *text)
{
    cleanup_free char *full = pv_xasprintf("%s%s", root, path), *dir = pv_path_dirname(full);
    FILE *f;

    assert_int_equal(pv_mkdir_p(dir, 0700, NULL), 0);
    f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(root + strlen(root) - 6, "XXXXXX");
    if (!mkdtemp(root))
        return -1;
    put_file("/proc/meminfo",
             "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return pv_rm_rf(root);
}

static void assert_memory(uint64_t memory, uint64_t available)
{
    struct pv_host h;

    pv_host_measure(root, &h);
    assert_true(h.memory == memory);
    assert_true(h.available == available);
    assert_true(h.cpus >= 1);
}

static unsigned host_cpus(void)
{
    struct pv_host h;

    pv_host_measure(root, &h);
    return h.cpus;
}

static void without_cgroups(void **state)
{
    cpu_set_t all, one;

    (void)state;
    assert_memory(16384 * M, 8192 * M);
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    assert_int_equal(host_cpus(), CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(host_cpus(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

/* The limit of a parent cgroup counts; memory of the page cache is available. */
static void cgroup_v2(void **state)
{
    (void)state;
    put_file("/proc/self/cgroup", "0::/user.slice/run.scope\n");
    put_file("/sys/fs/cgroup/user.slice/run.scope/memory.max", "max\n");
    put_file("/sys/fs/cgroup/user.slice/memory.max", "4294967296\n");
    put_file("/sys/fs/cgroup/user.slice/memory.current", "2147483648\n");
    put_file("/sys/fs/cgroup/user.slice/memory.stat",
             "anon 1073741824\nfile 1073741824\ninactive_file "
             "536870912\nactive_file 268435456\nslab_reclaimable 0\n");
    assert_memory(4096 * M, (4096 - 2048 + 512 + 256) * M);
    put_file("/sys/fs/cgroup/user.slice/cpu.max", "50000 100000\n");
    assert_int_equal(host_cpus(), 1);
    put_file("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
    assert_true(host_cpus() >= 1);
}

static void cgroup_v1(void **state)
{
    (void)state;
    put_file("/proc/self/cgroup",
             "12:memory:/docker/x\n4:cpuset,cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n0::/\n");
    /* In a container: the path is the host's, and the mount is the container's own cgroup. */
    put_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    put_file("/sys/fs/cgroup/memory/memory.usage_in_bytes", "805306368\n");
    put_file("/sys/fs/cgroup/memory/memory.stat",
             "cache 0\ntotal_inactive_file 104857600\ntotal_active_file 0\n");
    put_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    put_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_memory(1024 * M, (256 + 100) * M);
    assert_int_equal(host_cpus(), 1);
    /* No limit. */
    put_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    assert_memory(16384 * M, 8192 * M);
}

static void cgroup_full(void **state)
{
    (void)state;
    put_file("/proc/self/cgroup", "0::/\n");
    put_file("/sys/fs/cgroup/memory.max", "1048576\n");
    put_file("/sys/fs/cgroup/memory.current", "2097152\n");
    assert_memory(M, 0);
}

static void damaged_files(void **state)
{
    (void)state;
    put_file("/proc/self/cgroup", "\n:::\nx\n0:\n0::\n5:memory\n0::/../../..\n");
    put_file("/sys/fs/cgroup/cpu.max", "many\n");
    assert_memory(16384 * M, 8192 * M);
}

static void vm_memory_in_use(void **state)
{
    (void)state;
    put_file("/proc/70/comm", "provium\n");
    put_file("/proc/70/smaps_rollup",
             "0-1 ---p [rollup]\nRss: 9000 kB\nPss_Anon:  5000 kB\nPss_Shmem:   1024 kB\n");
    put_file("/proc/70/task/70/children", "71 72 73 ");
    put_file("/proc/71/comm", "qemu-system-x86\n");
    put_file("/proc/71/smaps_rollup",
             "0-1 ---p [rollup]\nRss: 9000 kB\nPss_Anon:  2048 kB\nPss_Shmem:   4096 kB\n");
    put_file("/proc/72/comm", "sleep\n");
    put_file("/proc/72/smaps_rollup", "0-1 ---p [rollup]\nPss_Anon:  700 kB\nPss_Shmem:   0 kB\n");
    assert_true(pv_host_vm_memory(root, 70) == 7 * M); /* process 73 has ended */
    assert_true(pv_host_vm_memory(root, 99) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_cgroups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cgroup_v2, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cgroup_v1, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cgroup_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(vm_memory_in_use, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

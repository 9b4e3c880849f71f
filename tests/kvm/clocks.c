/* SPDX-License-Identifier: MIT */
/*
 * clocks               prints CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME in ns, and the TSC
 * clocks watch FILE    reads CLOCK_MONOTONIC and the TSC each millisecond, on one CPU after the other, and keeps in
 *                      FILE: reads, how often the clock and the TSC went back, the longest gap between two reads in ns
 *
 * The watcher is in a state that is saved and goes on where it is restored: a clock that counted the time between the
 * two would show as a gap, one that was set back as a step.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

static int64_t now(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void move_to(long cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static int watch(const char *path)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned long reads = 0, back = 0, tsc_back = 0;
    int64_t last = now(CLOCK_MONOTONIC), gap = 0;
    uint64_t tsc = __rdtsc();
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0)
        return 1;
    for (;; reads++) {
        char line[128];
        int64_t t;
        uint64_t c;

        usleep(1000);
        move_to((long)(reads % (unsigned long)cpus));
        t = now(CLOCK_MONOTONIC);
        c = __rdtsc();
        back += t < last;
        tsc_back += c < tsc;
        gap = t - last > gap ? t - last : gap;
        last = t;
        tsc = c;
        if (reads % 10 == 0) {
            snprintf(line, sizeof(line), "%12lu %6lu %6lu %15lld\n", reads, back, tsc_back, (long long)gap);
            if (pwrite(fd, line, strlen(line), 0) < 0)
                return 1;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "watch"))
        return watch(argv[2]);
    printf("%lld %lld %lld %llu\n", (long long)now(CLOCK_MONOTONIC), (long long)now(CLOCK_BOOTTIME),
           (long long)now(CLOCK_REALTIME), (unsigned long long)__rdtsc());
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * A disk of this process over NBD against a raw file that QEMU opens itself, both with qemu-img bench; states of a
 * recording; memory of a recording.  No VM.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "disk/recording.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"

enum { RUNS = 3, DISK_MIB = 512, WRITES = 2000 };

static const struct {
    const char *name, *args[10];
    bool written; /* the disk is filled before */
} loads[] = {
    {"writing 128 MiB, 1 MiB each, 16 at once", {"-w", "-c128", "-d16", "-s1M", "-S1M"}},
    {"reading 128 MiB, 1 MiB each, 16 at once", {"-c128", "-d16", "-s1M", "-S1M"}},
    {"the same of what was written", {"-c128", "-d16", "-s1M", "-S1M"}, true},
    {"the same, one at a time", {"-c128", "-d1", "-s1M", "-S1M"}, true},
    {"4000 scattered writes of 4 KiB, 16 at once", {"-w", "-c4000", "-d16", "-s4k", "-S1052672"}},
    {"4000 scattered reads of 4 KiB, 16 at once", {"-c4000", "-d16", "-s4k", "-S1052672"}},
    {"300 writes of 4 KiB, flushed each", {"-w", "-c300", "-d1", "-s4k", "-S4k", "--flush-interval=1"}},
};

static bool has_ended(void *arg)
{
    siginfo_t si = {0};

    return waitid(P_PIDFD, (id_t) * (int *)arg, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid;
}

static void on_end(struct pv_watch *w, uint32_t events)
{
    (void)w;
    (void)events;
}

/* Milliseconds of a qemu-img bench on an image given as options; fd: descriptor 9 of it, or -1. */
static double run_load(struct pv_loop *loop, const char *const *args, const char *image, int fd)
{
    struct pv_spawn_fd fds[] = {{2, 2}, {fd, 9}};
    struct pv_watch w = {.fd = -1, .fn = on_end};
    struct pv_err err = PV_ERR_INIT;
    cleanup_strv struct pv_strv argv = {0};
    int64_t start = pv_now();
    int pidfd, status;
    double ms;
    pid_t pid;

    pv_strv_add(&argv, "qemu-img");
    pv_strv_add(&argv, "bench");
    for (; *args; args++)
        pv_strv_add(&argv, *args);
    pv_strv_add(&argv, "--image-opts");
    pv_strv_add(&argv, image);
    pid =
        pv_spawn(&(struct pv_spawn){.file = "qemu-img", .argv = argv.v, .fds = fds, .n_fds = fd < 0 ? 1 : 2},
                 &pidfd, &err);
    must(pid, &err);
    must(pv_loop_add(loop, &w, pidfd, EPOLLIN, &err), &err);
    must(pv_loop_run(loop, has_ended, &pidfd, PV_FOREVER, &err), &err);
    ms = ms_since(start);
    pv_loop_del(loop, &w);
    waitpid(pid, &status, 0);
    pv_close(&pidfd);
    if (status)
        must(pv_err_set(&err, PV_E_HOST, "qemu-img bench failed"), &err);
    return ms;
}

static void bench_load(struct pv_loop *loop, const char *dir, size_t i)
{
    cleanup_free char *path = pv_xasprintf("%s/raw", dir);
    cleanup_free char *raw = pv_xasprintf("driver=file,filename=%s", path);
    struct pv_disk_opts o = {.name = "bench", .dir = dir, .size = (uint64_t)DISK_MIB << 20};
    double ours[RUNS], plain[RUNS], none[RUNS], base, a, b;
    static const char *const nothing[] = {"-c1", NULL}, *const nbd = "driver=nbd,server.type=fd,server.str=9";
    struct pv_err err = PV_ERR_INIT;

    for (int run = 0; run < RUNS; run++) {
        struct pv_disk *d = pv_disk_new(loop, &o, &err);
        cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        int ours_fd;

        must(d && fd >= 0 && ftruncate(fd, (off_t)o.size) == 0 ? 0 : -1, &err);
        ours_fd = pv_disk_connect(d, &err);
        must(ours_fd, &err);
        if (loads[i].written) {
            run_load(loop, loads[0].args, nbd, ours_fd);
            run_load(loop, loads[0].args, raw, -1);
            close(ours_fd);
            ours_fd = pv_disk_connect(d, &err);
            must(ours_fd, &err);
        }
        ours[run] = run_load(loop, loads[i].args, nbd, ours_fd);
        close(ours_fd);
        pv_disk_free(d);
        plain[run] = run_load(loop, loads[i].args, raw, -1);
        none[run] = run_load(loop, nothing, raw, -1);
    }
    base = quantile(none, RUNS, 0.5); /* the start of qemu-img */
    a = quantile(ours, RUNS, 0.5) - base;
    b = quantile(plain, RUNS, 0.5) - base;
    printf("  %-45s median %7.1f ms, raw file %7.1f ms: ratio of time %.2f\n", loads[i].name, a, b, a / b);
}

static long resident_kib(void)
{
    struct pv_buf b = {0};
    struct pv_err err = PV_ERR_INIT;
    long kib = 0;
    char *at;

    must(pv_read_file("/proc/self/status", 65536, &b, &err), &err);
    at = strstr(b.data, "VmRSS:");
    if (at)
        kib = strtol(at + 6, NULL, 10);
    pv_buf_free(&b);
    return kib;
}

static struct pv_disk_recording *record(struct pv_disk *d)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_disk_recording *r = pv_disk_recording_start(&d, 1, "/tmp", &err);
    cleanup_free char *data = pv_xmalloc(65536);

    must(r ? 0 : -1, &err);
    for (int i = 0; i < WRITES; i++) {
        for (size_t k = 0; k < 65536; k += 8)
            *(uint64_t *)(void *)(data + k) = (k + 1 + (uint64_t)i) * UINT64_C(0x9e3779b97f4a7c15);
        must(pv_disk_write(d, (uint64_t)(i * 37 % 4000) * 65536, data, 65536, &err), &err);
        if (i % 10 == 9)
            pv_disk_flush(d);
    }
    must(pv_disk_recording_stop(r, &err), &err);
    return r;
}

static void bench_states(struct pv_loop *loop)
{
    struct pv_disk_opts o = {.name = "bench", .dir = "/tmp", .size = 256 << 20};
    struct pv_states_opts so = {.at_write = true, .seed = 1};
    struct pv_err err = PV_ERR_INIT;
    struct pv_disk *d = pv_disk_new(loop, &o, &err);
    long before = resident_kib(), recorded, analysed;
    struct pv_disk_recording *r;
    struct pv_states *s;
    struct pv_state *st;
    int64_t start;
    unsigned n = 0;

    must(d ? 0 : -1, &err);
    r = record(d);
    recorded = resident_kib();
    start = pv_now();
    s = pv_states_new(r, &so, &err);
    analysed = resident_kib();
    printf("  states of %d writes of 64 KiB: first after %.1f ms", WRITES, ms_since(start));
    start = pv_now();
    while ((st = pv_states_next(s, &err))) {
        struct pv_disk_image *i = pv_state_image(st, 0, &err);
        struct pv_disk_opts co = {.name = "clone", .dir = "/tmp", .image = i};
        struct pv_disk *c = i ? pv_disk_new(loop, &co, &err) : NULL;

        must(c ? 0 : -1, &err);
        pv_disk_free(c);
        pv_disk_image_unref(i);
        pv_state_unref(st);
        n++;
    }
    printf(", then %.0f a second, each with a disk on it\n", n / ms_since(start) * 1000);
    printf("  memory for each recorded MiB: %.1f KiB, with its states %.1f KiB; the data is in a file\n",
           (double)(recorded - before) / (WRITES / 16.0), (double)(analysed - before) / (WRITES / 16.0));
    pv_states_free(s);
    pv_disk_recording_unref(r);
    pv_disk_free(d);
}

void bench_disk(void)
{
    char dir[] = "/tmp/provium-bench.XXXXXX";
    struct pv_err err = PV_ERR_INIT;
    struct pv_loop *loop = pv_loop_new(&err);

    must(loop && mkdtemp(dir) ? 0 : -1, &err);
    printf("disk with faults over NBD against QEMU's raw file, %d MiB, %d runs, in /tmp\n", DISK_MIB, RUNS);
    for (size_t i = 0; i < PV_ARRAY_LEN(loads); i++)
        bench_load(loop, dir, i);
    bench_states(loop);
    pv_loop_free(loop);
    pv_rm_rf(dir);
}

/* SPDX-License-Identifier: MIT */
/*
 * The cost of Provium as ratios to a bare equivalent.  Machines are noisy, so both alternate within one run,
 * and medians are compared.
 *
 *     bench [boot] [channel] [api] [resume] [tasks] [net] [cache] [disk] [-n RUNS]
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "config/config.h"
#include "config/guestdir.h"
#include "guest/guest-state.h"
#include "guest/instance.h"
#include "vm/vm.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/spawn.h"

static const char plain_mark[] = "first-line-of-userland";

void must(int r, const struct pv_err *err)
{
    if (r < 0) {
        fprintf(stderr, "bench: %s\n", err->text);
        exit(1);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double quantile(double *v, size_t n, double p)
{
    size_t i = (size_t)(p * (double)(n - 1) + 0.5);

    /* cppcheck-suppress uninitvar ; callers fill their arrays in loops */
    qsort(v, n, sizeof(*v), compare_doubles);
    return v[i];
}

double ms_since(int64_t start)
{
    return (double)(pv_now() - start) / 1e6;
}

static double cpu_ms(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

/* Waits for plain_mark on the console fd of plain QEMU.  Returns ms since start, or ends the program. */
static double wait_for_mark(int fd, int64_t start)
{
    cleanup_buf struct pv_buf seen = {0};

    for (;;) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&pfd, 1, 60000) <= 0 || (n = read(fd, pv_buf_reserve(&seen, 4096), 4096)) <= 0)
            break;
        seen.len += (size_t)n;
        seen.data[seen.len] = '\0';
        /* The kernel's log has the mark too, in the command line, there followed by a semicolon. */
        if (strstr(seen.data, "first-line-of-userland\r\n") || strstr(seen.data, "first-line-of-userland\n"))
            return ms_since(start);
    }
    fprintf(stderr, "bench: plain QEMU did not get to the userland:\n%s\n", seen.data ? seen.data : "");
    exit(1);
}

/* Plain QEMU, from its start to the userland's first line on the serial console; ms. */
static double plain_boot(const struct pv_profile *p)
{
    char append[256];
    char *argv[] = {"qemu-system-x86_64",
                    "-m",
                    "512M",
                    "-display",
                    "none",
                    "-serial",
                    "stdio",
                    "-monitor",
                    "none",
                    "-kernel",
                    p->kernel,
                    "-initrd",
                    p->initrd,
                    "-append",
                    append,
                    NULL};
    struct pv_err err = PV_ERR_INIT;
    int out[2];
    int64_t start = pv_now();
    double ms;
    pid_t pid;

    snprintf(append, sizeof(append), "console=ttyS0 rdinit=/bin/sh -- -c \"echo %s; sleep 1000\"",
             plain_mark);
    if (pipe2(out, O_CLOEXEC) < 0)
        exit(1);
    pid = pv_spawn(&(struct pv_spawn){.file = argv[0],
                                      .argv = argv,
                                      .fds = (struct pv_spawn_fd[]){{out[1], 1}, {out[1], 2}},
                                      .n_fds = 2},
                   NULL, &err);
    must(pid, &err);
    close(out[1]);
    ms = wait_for_mark(out[0], start);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(out[0]);
    return ms;
}

static struct pv_guest *boot_over(const struct pv_guest_env *env, const struct pv_profile *p,
                                  enum pv_transport transport)
{
    struct pv_boot_opts o = {.transport = transport};
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = pv_guest_new(env, p);

    must(pv_guest_boot(g, &o, &err), &err);
    return g;
}

static struct pv_guest *boot_auto(const struct pv_guest_env *env, const struct pv_profile *p)
{
    return boot_over(env, p, PV_TRANSPORT_AUTO);
}

void exec_true(struct pv_guest *g)
{
    struct pv_exec x = {0};
    struct pv_exec_result r = {0};
    struct pv_err err = PV_ERR_INIT;

    pv_strv_add(&x.argv, "/bin/true");
    must(pv_agent_exec(pv_guest_agent(g), &x, &r, &err), &err);
    pv_strv_free(&x.argv);
    pv_exec_result_fini(&r);
}

static int64_t qemu_started;

static void on_phase(const char *vm, const char *what, void *arg)
{
    (void)vm;
    (void)arg;
    if (!strcmp(what, "starting QEMU"))
        qemu_started = pv_now();
}

static void bench_boot(struct pv_guest_env *env, const struct pv_profile *p, size_t runs)
{
    double plain[64], ours[64], before[64], cpu[64];

    pv_guest_free(boot_auto(env, p)); /* fills the kernel cache */
    for (size_t i = 0; i < runs; i++) {
        int64_t start;
        double c;
        struct pv_guest *g;

        plain[i] = plain_boot(p);
        start = pv_now();
        c = cpu_ms();
        g = boot_auto(env, p);
        exec_true(g);
        ours[i] = ms_since(start);
        before[i] = (double)(qemu_started - start) / 1e6;
        cpu[i] = cpu_ms() - c;
        pv_guest_free(g);
    }
    printf("boot, %zu runs each, Debian cloud kernel, 512M, 1 CPU\n", runs);
    printf("  plain qemu -kernel bzImage -initrd, to the first line   median %7.0f ms\n",
           quantile(plain, runs, 0.5));
    printf("  provium, create to the first exec's result              median %7.0f ms\n",
           quantile(ours, runs, 0.5));
    printf("  ratio (goal: at most 0.80)                                     %7.2f\n",
           quantile(ours, runs, 0.5) / quantile(plain, runs, 0.5));
    printf("  provium's own time before QEMU starts                   median %7.1f ms\n",
           quantile(before, runs, 0.5));
    printf("  provium's own CPU time, whole boot (goal: at most 60)   median %7.1f ms\n",
           quantile(cpu, runs, 0.5));
}

enum { CHANNEL_TRIPS = 2000, CHANNEL_MOVES = 12 };
static const size_t move_sizes[] = {(size_t)1 << 20, (size_t)16 << 20};

struct channel {
    struct pv_guest *g;
    double trip[CHANNEL_TRIPS], to[2][CHANNEL_MOVES], from[2][CHANNEL_MOVES];
    double cpu_trip, cpu_to, cpu_from; /* QEMU's CPU time, ms: less noisy than times on a busy machine */
};

static double qemu_cpu_ms(const struct pv_guest *g)
{
    double sum = 0;
    cleanup_free char *dir = pv_xasprintf("/proc/%d/task", (int)pv_vm_pid(pv_instance_vm(g->instance)));
    DIR *d = opendir(dir);

    for (struct dirent *e; d && (e = readdir(d));) {
        char task[64];
        unsigned long long ns;
        FILE *f;

        snprintf(task, sizeof(task), "%s/%.16s/schedstat", dir, e->d_name);
        f = e->d_name[0] == '.' ? NULL : fopen(task, "re");
        if (f && fscanf(f, "%llu", &ns) == 1)
            sum += (double)ns / 1e6;
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
    return sum;
}

static void trip_once(struct channel *c, int i)
{
    double cpu = qemu_cpu_ms(c->g);
    int64_t start = pv_now();
    struct pv_err err = PV_ERR_INIT;
    char small[64] = "";

    must(pv_agent_ping(pv_guest_agent(c->g), small, sizeof(small), 10 * PV_NSEC_PER_SEC, &err), &err);
    if (i >= 0) /* negative: warm-up */
        c->trip[i] = (double)(pv_now() - start) / 1e6, c->cpu_trip += qemu_cpu_ms(c->g) - cpu;
}

static void move_once(struct channel *c, size_t s, int i, const char *data)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_buf back = {0};
    double mb = (double)move_sizes[s] / 1e6, cpu = qemu_cpu_ms(c->g), cpu2;
    int64_t start = pv_now();

    must(pv_agent_write_file(pv_guest_agent(c->g), "/tmp/bench", data, move_sizes[s], 0644, 0,
                             60 * PV_NSEC_PER_SEC, &err),
         &err);
    c->to[s][i] = mb / ((double)(pv_now() - start) / 1e9);
    cpu2 = qemu_cpu_ms(c->g);
    c->cpu_to += cpu2 - cpu;
    start = pv_now();
    must(pv_agent_read_file(pv_guest_agent(c->g), "/tmp/bench", 60 * PV_NSEC_PER_SEC, &back, &err), &err);
    c->from[s][i] = mb / ((double)(pv_now() - start) / 1e9);
    c->cpu_from += qemu_cpu_ms(c->g) - cpu2;
    pv_buf_free(&back);
}

/* The same calls over both transports, alternating. */
static void bench_channel(struct pv_guest_env *env, const struct pv_profile *p)
{
    static const char *const names[] = {"vsock", "virtio-serial"};
    static struct channel ch[2];
    char *data = pv_xcalloc(1, move_sizes[1]);
    const double moved = (double)(move_sizes[0] + move_sizes[1]) / 1e6 * CHANNEL_MOVES;

    for (int k = 0; k < 2; k++)
        ch[k].g = boot_over(env, p, k ? PV_TRANSPORT_SERIAL : PV_TRANSPORT_VSOCK);
    for (int i = -100; i < CHANNEL_TRIPS; i++)
        for (int k = 0; k < 2; k++)
            trip_once(&ch[k], i);
    for (size_t s = 0; s < 2; s++)
        for (int i = 0; i < CHANNEL_MOVES; i++)
            for (int k = 0; k < 2; k++)
                move_once(&ch[k], s, i, data);
    printf("through the agent, 512M, 1 CPU, both taking turns; ping of 64 bytes; 1 and 16 MiB files, MB/s\n");
    for (int k = 0; k < 2; k++) {
        printf("  %-14s round trip p50 %6.3f ms  p99 %6.3f ms   write %4.0f %4.0f   read %4.0f %4.0f\n",
               names[k], quantile(ch[k].trip, CHANNEL_TRIPS, 0.5), quantile(ch[k].trip, CHANNEL_TRIPS, 0.99),
               quantile(ch[k].to[0], CHANNEL_MOVES, 0.5), quantile(ch[k].to[1], CHANNEL_MOVES, 0.5),
               quantile(ch[k].from[0], CHANNEL_MOVES, 0.5), quantile(ch[k].from[1], CHANNEL_MOVES, 0.5));
        printf("  %-14s QEMU's CPU time   %6.3f ms                 per MB %6.2f ms    %6.2f ms\n", "",
               ch[k].cpu_trip / CHANNEL_TRIPS, ch[k].cpu_to / moved, ch[k].cpu_from / moved);
        pv_guest_free(ch[k].g);
    }
    free(data);
}

enum part { BOOT, CHANNEL, API, RESUME, TASKS, NET, CACHE, DISK, PARTS };

static const char *const part_names[PARTS] = {
    [BOOT] = "boot",   [CHANNEL] = "channel", [API] = "api",     [RESUME] = "resume",
    [TASKS] = "tasks", [NET] = "net",         [CACHE] = "cache", [DISK] = "disk"};

/* -1: there is no part of this name. */
static int part_find(const char *name)
{
    for (int i = 0; i < PARTS; i++)
        if (!strcmp(name, part_names[i]))
            return i;
    return -1;
}

static void parts_run(const bool want[static PARTS], struct pv_guest_env *env, const struct pv_profile *p,
                      size_t runs)
{
    if (want[BOOT])
        bench_boot(env, p, runs);
    if (want[CHANNEL])
        bench_channel(env, p);
    if (want[API])
        bench_api(env, p);
    if (want[RESUME])
        bench_resume(env, p);
    if (want[TASKS])
        bench_tasks(env, p);
    if (want[NET])
        bench_net(env, p);
    if (want[CACHE])
        bench_cache();
    if (want[DISK])
        bench_disk();
}

int main(int argc, char **argv)
{
    cleanup_free char *guest_dir = pv_guest_dir();
    struct pv_err err = PV_ERR_INIT;
    struct pv_config *config = pv_config_load(NULL, guest_dir, &err);
    const struct pv_profile *p = config ? pv_config_profile(config, "default", &err) : NULL;
    struct pv_guest_env env = {.host = {.loop = pv_loop_new(&err)}, .observer = {.phase = on_phase}};
    bool want[PARTS] = {false}, all = true;
    size_t runs = 15;

    for (int i = 1; i < argc; i++) {
        int part = part_find(argv[i]);

        if (part >= 0) {
            want[part] = true;
            all = false;
        } else if (!strcmp(argv[i], "-n") && i + 1 < argc && atoi(argv[i + 1]) > 0 &&
                   atoi(argv[i + 1]) <= 64) {
            runs = (size_t)atoi(argv[++i]);
        } else {
            fprintf(stderr, "usage: bench [boot] [channel] [api] [resume] [tasks] [net] [cache] [disk] "
                            "[-n RUNS(1..64)]\n");
            return 2;
        }
    }
    for (int i = 0; all && i < PARTS; i++)
        want[i] = true;
    if (!p || !env.host.loop)
        must(-1, &err);
    signal(SIGPIPE, SIG_IGN);
    pv_log_init();
    parts_run(want, &env, p, runs);
    pv_loop_free(env.host.loop);
    pv_config_free(config);
    return 0;
}

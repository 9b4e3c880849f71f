/* SPDX-License-Identifier: MIT */
/*
 * The guest API against the bare transport ("raw"): a small program in the same VM echoes, discards and sends
 * bytes (tests/vsock-guest/guest.c), and the benchmark connects to it over the same device.  Both alternate.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../tests/vsock-guest/ports.h"
#include "bench.h"
#include "guest/process.h"
#include "guest/guest-state.h" /* the guest's channel has no public accessor */
#include "guest/instance.h"
#include "loop/loop.h"
#include "transport/channel.h"
#include "transport/stream.h"
#include "util/spool.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

enum { TRIPS = 1500, EXECS = 100, FILES = 300, MOVES = 9 };
static const size_t big = (size_t)64 << 20;
static const int64_t limit = 60 * PV_NSEC_PER_SEC;

/* ---- a raw connection ---- */

struct raw {
    struct pv_loop *loop;
    struct pv_stream *s;
    bool event;
};

static void raw_die(const char *what, int errnum)
{
    fprintf(stderr, "bench: raw vsock: %s: %s\n", what, strerror(errnum));
    exit(1);
}

static void on_event(struct pv_stream *s, void *arg)
{
    (void)s;
    ((struct raw *)arg)->event = true;
}

static bool has_event(void *arg)
{
    return ((struct raw *)arg)->event;
}

static void wait_event(struct raw *r)
{
    if (pv_loop_run(r->loop, has_event, r, pv_deadline(limit), NULL) != 0)
        raw_die("nothing happens", ETIMEDOUT);
    r->event = false;
}

/* Connects to the program in the guest; retries until it listens. */
static void dial(struct raw *r, struct pv_guest *g, unsigned port)
{
    struct pv_err err = PV_ERR_INIT;
    int64_t end = pv_deadline(limit);

    for (;;) {
        int error;

        r->s = pv_instance_channel(g->instance)->ops->connect(pv_instance_channel(g->instance), port, &err);
        if (!r->s)
            must(-1, &err);
        r->s->on_event = on_event;
        r->s->arg = r;
        while (r->s->connecting)
            wait_event(r);
        error = r->s->error;
        if (!error)
            return;
        pv_stream_close(r->s);
        if (pv_now() > end)
            raw_die("connect", error);
        exec_true(g);
    }
}

static void send_all(struct raw *r, const char *data, size_t n)
{
    while (n) {
        ssize_t k;

        r->event = false;
        k = pv_stream_write(r->s, data, n);
        if (k > 0) {
            data += k;
            n -= (size_t)k;
            continue;
        }
        if (k != -EAGAIN)
            raw_die("write", (int)-k);
        pv_stream_want_write(r->s, true);
        wait_event(r);
        pv_stream_want_write(r->s, false);
    }
}

static void recv_all(struct raw *r, char *data, size_t n)
{
    while (n) {
        ssize_t k;

        r->event = false;
        k = pv_stream_read(r->s, data, n);
        if (k > 0) {
            data += k;
            n -= (size_t)k;
        } else if (k == -EAGAIN) {
            wait_event(r);
        } else {
            raw_die("read", k ? (int)-k : ECONNRESET);
        }
    }
}

/* ---- round trips ---- */

static void syscall_getppid(struct pv_guest *g)
{
    struct pv_syscall c = {.nr = SYS_getppid};
    struct pv_sysret r = {0};
    struct pv_err err = PV_ERR_INIT;

    must(pv_agent_syscall(pv_guest_agent(g), &c, &r, &err), &err);
    pv_sysret_fini(&r);
}

static void print_latency(const char *what, double *v, size_t n, double raw)
{
    double p50 = quantile(v, n, 0.5);

    printf("  %-34s median %8.3f ms  p99 %8.3f ms  %6.2f raw round trips\n", what, p50, quantile(v, n, 0.99),
           p50 / raw);
}

static void bench_trips(struct pv_guest *g, struct raw *echo)
{
    static double raw[TRIPS], ping[TRIPS], sys[TRIPS], run[EXECS];
    char small[64] = "";
    struct pv_err err = PV_ERR_INIT;

    for (int i = -100; i < TRIPS; i++) {
        int64_t start = pv_now();
        double t[3];

        send_all(echo, small, sizeof(small));
        recv_all(echo, small, sizeof(small));
        t[0] = ms_since(start);
        start = pv_now();
        must(pv_agent_ping(pv_guest_agent(g), small, sizeof(small), limit, &err), &err);
        t[1] = ms_since(start);
        start = pv_now();
        syscall_getppid(g);
        t[2] = ms_since(start);
        if (i >= 0) /* negative: warm-up */
            raw[i] = t[0], ping[i] = t[1], sys[i] = t[2];
    }
    for (int i = -5; i < EXECS; i++) {
        int64_t start = pv_now();

        exec_true(g);
        if (i >= 0)
            run[i] = ms_since(start);
    }
    double r = quantile(raw, TRIPS, 0.5);

    print_latency("raw round trip, 64 bytes", raw, TRIPS, r);
    print_latency("ping of the agent, 64 bytes", ping, TRIPS, r);
    print_latency("syscall(\"getppid\") (goal: 1.30)", sys, TRIPS, r);
    print_latency("exec {\"/bin/true\"}", run, EXECS, r);
}

/* ---- files ---- */

static void remove_file(struct pv_guest *g, const char *path)
{
    struct pv_sys_buf name = {0, path, strlen(path) + 1};
    struct pv_syscall c = {.nr = SYS_unlink, .bufs = &name, .n_bufs = 1};
    struct pv_sysret r = {0};
    struct pv_err err = PV_ERR_INIT;

    must(pv_agent_syscall(pv_guest_agent(g), &c, &r, &err), &err);
    pv_sysret_fini(&r);
}

static double write_ms(struct pv_guest *g, const char *path, const char *data, size_t n)
{
    struct pv_err err = PV_ERR_INIT;
    int64_t start = pv_now();

    must(pv_agent_write_file(pv_guest_agent(g), path, data, n, 0644, 0, limit, &err), &err);
    return ms_since(start);
}

static double read_ms(struct pv_guest *g, size_t n)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_buf back = {0};
    int64_t start = pv_now();
    double ms;

    must(pv_agent_read_file(pv_guest_agent(g), "/tmp/bench", limit, &back, &err), &err);
    ms = ms_since(start);
    if (back.len != n) {
        fprintf(stderr, "bench: read_file gave %zu bytes of %zu\n", back.len, n);
        exit(1);
    }
    pv_buf_free(&back);
    return ms;
}

/* The same bytes as the stdout of a process, which nobody reads before its end. */
static double stream_ms(struct pv_guest *g, size_t n)
{
    struct pv_exec x = {.max_output = 2 * n};
    struct pv_err err = PV_ERR_INIT;
    struct pv_process *p;
    int64_t start = pv_now();
    double ms;

    pv_strv_add(&x.argv, "cat");
    pv_strv_add(&x.argv, "/tmp/bench");
    p = pv_process_start(pv_guest_agent(g), &x, false, NULL, &err);
    must(p ? 0 : -1, &err);
    must(pv_process_wait(p, pv_deadline(limit), &err), &err);
    ms = ms_since(start);
    if (pv_spool_end(pv_process_output(p, 0)) != n) {
        fprintf(stderr, "bench: a process's stdout has %llu bytes of %zu\n",
                (unsigned long long)pv_spool_end(pv_process_output(p, 0)), n);
        exit(1);
    }
    pv_process_unref(p);
    pv_strv_free(&x.argv);
    return ms;
}

static double sink_ms(struct raw *sink, const char *data, size_t n)
{
    uint64_t size = n, sum;
    int64_t start = pv_now();

    send_all(sink, (const char *)&size, sizeof(size));
    send_all(sink, data, n);
    recv_all(sink, (char *)&sum, sizeof(sum));
    return ms_since(start);
}

/* Receives into newly allocated memory, as read_file does. */
static double source_ms(struct raw *source, size_t n)
{
    uint64_t size = n;
    int64_t start = pv_now();
    char *to = pv_xmalloc(n);
    double ms;

    send_all(source, (const char *)&size, sizeof(size));
    recv_all(source, to, n);
    ms = ms_since(start);
    free(to);
    return ms;
}

/* goal: of the ratio; 0: there is none. */
static void print_throughput(const char *what, double goal, double *ours, double *raw)
{
    double mb = (double)big / 1e3, o = quantile(ours, MOVES, 0.5), r = quantile(raw, MOVES, 0.5);

    printf("  %-34s median %5.0f MB/s  p99 %5.0f MB/s  raw %5.0f MB/s  ratio %5.2f", what, mb / o,
           mb / quantile(ours, MOVES, 0.99), mb / r, r / o);
    if (goal > 0)
        printf(" (goal: %.2f)", goal);
    printf("\n");
}

static void bench_files(struct pv_guest *g, struct raw *sink, struct raw *source, double raw_trip)
{
    static double w[FILES], r[FILES];
    double to[MOVES], over[MOVES], null[MOVES], from[MOVES], raw_to[MOVES], raw_from[MOVES], stream[MOVES];
    char *data = pv_xmalloc(big);

    memset(data, 'x', big);
    for (int i = -10; i < FILES; i++) {
        double a = write_ms(g, "/tmp/bench", data, 1024), b = read_ms(g, 1024);

        if (i >= 0)
            w[i] = a, r[i] = b;
    }
    print_latency("write_file, 1 KiB", w, FILES, raw_trip);
    print_latency("read_file, 1 KiB", r, FILES, raw_trip);
    for (int i = 0; i < MOVES; i++) {
        remove_file(g, "/tmp/bench"); /* so that write_file does not truncate 64 MiB */
        raw_to[i] = sink_ms(sink, data, big);
        to[i] = write_ms(g, "/tmp/bench", data, big);
        over[i] = write_ms(g, "/tmp/bench", data, big);
        null[i] = write_ms(g, "/dev/null", data, big);
        raw_from[i] = source_ms(source, big);
        from[i] = read_ms(g, big);
        stream[i] = stream_ms(g, big);
    }
    print_throughput("write_file, 64 MiB, to a new file", 0.75, to, raw_to);
    print_throughput("the same over one that is there", 0, over, raw_to);
    /* Like raw, without the guest's page allocation for a file. */
    print_throughput("write_file, 64 MiB, to /dev/null", 0.80, null, raw_to);
    print_throughput("read_file, 64 MiB", 0.80, from, raw_from);
    print_throughput("cat of it as a stream; raw: read_file", 0, stream, from);
    free(data);
}

void bench_api(const struct pv_guest_env *env, const struct pv_profile *p)
{
    char guest_path[] = "/bench-raw", host_path[] = BENCH_RAW_GUEST;
    struct pv_guest_file file = {.guest_path = guest_path, .host_path = host_path};
    struct pv_boot_opts o = {.files = &file, .n_files = 1};
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = pv_guest_new(env, p);
    struct raw echo = {.loop = env->host.loop}, sink = echo, source = echo;
    struct pv_exec x = {0};
    struct pv_job job;
    static double raw[200];

    must(pv_guest_boot(g, &o, &err), &err);
    pv_strv_add(&x.argv, guest_path);
    must(pv_agent_job_start(pv_guest_agent(g), &x, &job, &err), &err);
    pv_strv_free(&x.argv);
    dial(&echo, g, ECHO_PORT);
    dial(&sink, g, SINK_PORT);
    dial(&source, g, SOURCE_PORT);
    printf(
        "guest API, Debian cloud kernel, 512M, 1 CPU; raw: a bare program on the same vsock, taking turns\n");
    bench_trips(g, &echo);
    for (size_t i = 0; i < PV_ARRAY_LEN(raw); i++) {
        char small[64] = "";
        int64_t start = pv_now();

        send_all(&echo, small, sizeof(small));
        recv_all(&echo, small, sizeof(small));
        raw[i] = ms_since(start);
    }
    bench_files(g, &sink, &source, quantile(raw, PV_ARRAY_LEN(raw), 0.5));
    pv_stream_close(echo.s);
    pv_stream_close(sink.s);
    pv_stream_close(source.s);
    pv_guest_free(g);
}

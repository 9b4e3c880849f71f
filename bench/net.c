/* SPDX-License-Identifier: MIT */
/*
 * Networks: two VMs through the switch against the same two QEMUs joined by a socket, the switch alone with more and more
 * ends, and what the bridge for NICs costs a boot.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "loop/loop.h"
#include "net/network.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { ROUNDS = 5, MIB = 16, PINGS = 60, PORTS_MAX = 64, BATCH = 8, BATCHES = 4000, BOOTS = 8 };

static const int64_t limit = 600 * PV_NSEC_PER_SEC;

/* ---- the switch alone ---- */

struct lab {
    struct pv_net *net;
    struct pv_net_end *end[PORTS_MAX];
    int fd[PORTS_MAX]; /* QEMU's side */
};

static void frame_make(uint8_t *frame, size_t n, unsigned from, unsigned to)
{
    memset(frame, 0, n);
    memcpy(frame,
           (uint8_t[]){0x52, 0x54, 0, 0, 0, (uint8_t)to, 0x52, 0x54, 0, 0, 0, (uint8_t)from, 0x88, 0xb5}, 14);
}

static void lab_begin(struct lab *l, struct pv_loop *loop, unsigned n)
{
    struct pv_err err = PV_ERR_INIT;
    int sv[2];

    l->net = pv_net_new(loop, &(struct pv_net_opts){.name = "bench", .seed = 1});
    for (unsigned i = 0; i < n; i++) {
        must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), &err);
        l->fd[i] = sv[0];
        l->end[i] =
            pv_net_attach(l->net, "end", (uint8_t[6]){0x52, 0x54, 0, 0, 0, (uint8_t)i}, NULL, NULL, &err);
        must(l->end[i] ? pv_net_connect(l->end[i], sv[1], &err) : -1, &err);
    }
}

static double cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* CPU time of a frame of n bytes from one of the last two ends to the other, microseconds; the test's own part is in it. */
static double switch_run(struct pv_loop *loop, unsigned ends, size_t n)
{
    uint8_t frame[2048], got[2048];
    struct lab l;
    double start;

    lab_begin(&l, loop, ends);
    start = cpu_us();
    for (unsigned i = 0; i < BATCHES; i++) {
        unsigned from = ends - 1 - i % 2, to = ends - 2 + i % 2, arrived = 0;

        frame_make(frame, n, from, to);
        for (unsigned k = 0; k < BATCH; k++)
            must(send(l.fd[from], frame, n, 0) == (ssize_t)n ? 0 : -1, &(struct pv_err){.text = "send"});
        pv_loop_run(loop, NULL, NULL, pv_now(), NULL);
        while (recv(l.fd[to], got, sizeof(got), MSG_DONTWAIT) == (ssize_t)n)
            arrived++;
        must(arrived == BATCH ? 0 : -1, &(struct pv_err){.text = "frames were lost"});
    }
    start = cpu_us() - start;
    pv_net_free(l.net);
    for (unsigned i = 0; i < ends; i++)
        close(l.fd[i]);
    return start / (BATCH * BATCHES);
}

/* The same frames through two socket pairs, copied from one to the other. */
static double copy_run(size_t n)
{
    uint8_t frame[2048], got[2048];
    int a[2], b[2];
    double start;

    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, a), NULL);
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, b), NULL);
    frame_make(frame, n, 0, 1);
    start = cpu_us();
    for (unsigned i = 0; i < BATCHES; i++) {
        for (unsigned k = 0; k < BATCH; k++)
            (void)!send(a[0], frame, n, 0);
        while (recv(a[1], got, sizeof(got), 0) > 0)
            (void)!send(b[0], got, n, 0);
        while (recv(b[1], got, sizeof(got), 0) > 0)
            ;
    }
    start = cpu_us() - start;
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    return start / (BATCH * BATCHES);
}

static void bench_switch(struct pv_loop *loop)
{
    static const unsigned ends[] = {2, 8, 32, 64};
    static const size_t sizes[] = {64, 1514};

    printf("the switch alone, CPU time of a frame with its sending and receiving, median of %d\n", ROUNDS);
    for (size_t s = 0; s < PV_ARRAY_LEN(sizes); s++) {
        double us[PV_ARRAY_LEN(ends)][ROUNDS], copy[ROUNDS], raw;

        for (int round = 0; round < ROUNDS; round++) {
            copy[round] = copy_run(sizes[s]);
            for (size_t e = 0; e < PV_ARRAY_LEN(ends); e++)
                us[e][round] = switch_run(loop, ends[e], sizes[s]);
        }
        raw = quantile(copy, ROUNDS, 0.5);
        printf("  %4zu bytes: copied without a switch %.2f us;", sizes[s], raw);
        for (size_t e = 0; e < PV_ARRAY_LEN(ends); e++) {
            double v = quantile(us[e], ROUNDS, 0.5);

            printf(" %u ends %.2f us (%.0f a second)", ends[e], v, 1e6 / v);
        }
        printf("; 64 ends against 2: %.2f\n", us[3][ROUNDS / 2] / us[0][ROUNDS / 2]);
    }
}

/* ---- VM to VM ---- */

struct vm {
    struct pv_nic_wire wire;
    struct pv_net_end *end;
    struct pv_guest *g;
    struct pv_profile profile; /* a copy with more arguments */
};

static void wire_attach(struct pv_nic_wire *w, int fd)
{
    struct pv_err err = PV_ERR_INIT;

    must(pv_net_connect(PV_CONTAINER_OF(w, struct vm, wire)->end, fd, &err), &err);
}

/* Runs a shell command and returns its output; the program ends when the command fails. */
static char *shell(struct pv_guest *g, const char *command)
{
    struct pv_exec x = {.timeout_ns = limit};
    struct pv_exec_result r = {0};
    struct pv_err err = PV_ERR_INIT;
    char *out;

    pv_strv_add(&x.argv, "/bin/sh");
    pv_strv_add(&x.argv, "-c");
    pv_strv_add(&x.argv, command);
    must(pv_agent_exec(pv_guest_agent(g), &x, &r, &err), &err);
    pv_strv_free(&x.argv);
    if (r.exit_code != 0)
        must(pv_err_set(&err, PV_E_GUEST, "'%s' failed: %s%s", command, r.out.data ? r.out.data : "",
                        r.err.data ? r.err.data : ""),
             &err);
    out = pv_xstrdup(r.out.data ? r.out.data : "");
    pv_exec_result_fini(&r);
    return out;
}

static void vm_boot(struct vm *v, const struct pv_guest_env *env, const struct pv_profile *p,
                    struct pv_net *net, const char *dir, unsigned i)
{
    struct pv_guest_nic nic = {.hw = {.mac = {0x52, 0x54, 0, 0, 1, (uint8_t)(i + 1)}, .mtu = 1500},
                               .wire = &v->wire,
                               .ip = {10, 7, 0, (uint8_t)(i + 1)},
                               .n_ip = 4,
                               .prefix = 24};
    struct pv_boot_opts o = {.memory = UINT64_C(256) << 20, .nics = &nic, .n_nics = 1, .timeout_ns = limit};
    cleanup_free char *set_up = pv_xasprintf("for d in /sys/class/net/*; do grep -q 52:54:00:00:02:%02x "
                                             "$d/address && d=${d##*/} && ip link set $d up && "
                                             "ip addr add 10.8.0.%u/24 dev $d && exit; done; exit 1",
                                             i + 1, i + 1);
    struct pv_err err = PV_ERR_INIT;

    v->profile = *p;
    v->profile.unconfined = true;
    v->profile.qemu_args = (struct pv_strv){0};
    pv_strv_add(&v->profile.qemu_args, "-netdev");
    pv_strv_take(
        &v->profile.qemu_args,
        pv_xasprintf("dgram,id=joined,local.type=unix,local.path=%s/%u,remote.type=unix,remote.path=%s/%u",
                     dir, i, dir, 1 - i));
    pv_strv_add(&v->profile.qemu_args, "-device");
    pv_strv_take(&v->profile.qemu_args,
                 pv_xasprintf("virtio-net-pci,netdev=joined,romfile=,mac=52:54:00:00:02:%02x", i + 1));
    v->wire.attach = wire_attach;
    v->end = pv_net_attach(net, i ? "b" : "a", nic.hw.mac, NULL, NULL, &err);
    v->g = pv_guest_new(env, &v->profile);
    must(v->end ? pv_guest_boot(v->g, &o, &err) : -1, &err);
    free(shell(v->g, set_up));
}

struct transfer {
    struct pv_guest *g;
    char *command;
    struct pv_task *task;
};

static void transfer_run(void *arg)
{
    struct transfer *t = arg;

    free(shell(t->g, t->command));
}

static void transfer_start(struct transfer *t, struct pv_loop *loop)
{
    struct pv_err err = PV_ERR_INIT;

    t->task = pv_task_start(loop, transfer_run, t, &err);
    must(t->task ? 0 : -1, &err);
}

static bool task_is_done(void *arg)
{
    return pv_task_done(arg);
}

static void transfer_end(struct transfer *t, struct pv_loop *loop)
{
    pv_loop_run(loop, task_is_done, t->task, PV_FOREVER, NULL);
    pv_task_free(t->task);
    free(t->command);
}

/* MB/s of TCP from the second VM to the first, whose nc must not come to an end of its input: that would end the other. */
static double throughput(const struct vm v[2], struct pv_loop *loop, const char *subnet, unsigned port)
{
    struct transfer sink = {.g = v[0].g,
                            .command =
                                pv_xasprintf("mkfifo /tmp/%u && test $(nc -l -p %u <>/tmp/%u | wc -c) = %u",
                                             port, port, port, MIB << 20)};
    struct transfer source = {
        .g = v[1].g,
        .command =
            pv_xasprintf("dd if=/dev/zero bs=64k count=%u 2>/dev/null | nc %s.1 %u", MIB * 16, subnet, port)};
    cleanup_free char *listens =
        pv_xasprintf("until grep -q ':%04X ' /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done", port);
    int64_t start;

    transfer_start(&sink, loop);
    free(shell(v[0].g, listens));
    start = pv_now();
    transfer_start(&source, loop);
    transfer_end(&sink, loop);
    start = pv_now() - start;
    transfer_end(&source, loop);
    return MIB * 1048576.0 / 1e6 / ((double)start / 1e9);
}

/* The median round trip of a ping, ms. */
static double latency(const struct vm *v, const char *subnet)
{
    cleanup_free char *command = pv_xasprintf("ping -c %u -i 0.02 -W 20 %s.1", PINGS + 1, subnet);
    cleanup_free char *out = shell(v->g, command);
    double ms[PINGS + 1];
    size_t n = 0;

    for (const char *at = out; n <= PINGS && (at = strstr(at, "time=")); at += 5)
        ms[n++] = strtod(at + 5, NULL);
    must(n > 1 ? 0 : -1, &(struct pv_err){.text = "no ping had a reply"});
    return quantile(ms + 1, n - 1, 0.5); /* without the first one, which waits for ARP */
}

static void bench_vms(struct pv_guest_env *env, const struct pv_profile *p)
{
    static const char *const subnets[] = {"10.7.0", "10.8.0"}; /* the switch, joined */
    struct pv_net *net = pv_net_new(env->host.loop, &(struct pv_net_opts){.name = "bench", .seed = 1});
    double mbs[2][ROUNDS], ms[2][ROUNDS], a, b;
    char dir[] = "/tmp/provium-bench.XXXXXX";
    struct vm v[2] = {0};

    must(mkdtemp(dir) ? 0 : -1, &(struct pv_err){.text = "mkdtemp"});
    env->tasks = true;
    for (unsigned i = 0; i < 2; i++)
        vm_boot(&v[i], env, p, net, dir, i);
    for (unsigned i = 0; i < ROUNDS; i++)
        for (unsigned k = 0; k < 2; k++) {
            ms[k][i] = latency(&v[1], subnets[k]);
            mbs[k][i] = throughput(v, env->host.loop, subnets[k], 5000 + 2 * i + k);
        }
    for (unsigned i = 0; i < 2; i++) {
        pv_guest_free(v[i].g);
        pv_strv_free(&v[i].profile.qemu_args);
    }
    env->tasks = false;
    pv_net_free(net);
    pv_rm_rf(dir);
    printf("VM to VM, 256M, 1 CPU each; medians of %d rounds, both taking turns\n", ROUNDS);
    a = quantile(mbs[0], ROUNDS, 0.5);
    b = quantile(mbs[1], ROUNDS, 0.5);
    printf("  TCP, %d MiB: the switch %.1f MB/s, QEMUs joined %.1f MB/s: %.2f (goal: at least 0.8)\n", MIB, a,
           b, a / b);
    a = quantile(ms[0], ROUNDS, 0.5);
    b = quantile(ms[1], ROUNDS, 0.5);
    printf("  ping: the switch %.3f ms, QEMUs joined %.3f ms: %.2f (goal: at most 1.3)\n", a, b, a / b);
}

/* ---- the bridge ---- */

/* A program that starts QEMU without its argument pair for the bridge, or with it. */
static char *qemu_script(const char *dir, bool bridge)
{
    cleanup_free char *text =
        pv_xasprintf("#!/bin/bash\nargs=()\nwhile [ $# -gt 0 ]; do\n"
                     "    case $2 in pcie-pci-bridge,*) %s ;; esac\n"
                     "    args+=(\"$1\")\n    shift\ndone\nexec qemu-system-x86_64 \"${args[@]}\"\n",
                     bridge ? ":" : "shift 2; continue");
    char *path = pv_xasprintf("%s/qemu-%s", dir, bridge ? "with" : "without");
    struct pv_err err = PV_ERR_INIT;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    size_t n = strlen(text);

    must(fd >= 0 && write(fd, text, n) == (ssize_t)n ? 0 : -1, &err);
    close(fd);
    return path;
}

static void bench_bridge(const struct pv_guest_env *env, const struct pv_profile *p)
{
    char dir[] = "/tmp/provium-bench.XXXXXX";
    double ms[2][BOOTS], with, without;
    struct pv_profile profiles[2] = {*p, *p};
    struct pv_err err = PV_ERR_INIT;

    must(mkdtemp(dir) ? 0 : -1, &err);
    for (unsigned k = 0; k < 2; k++) {
        profiles[k].qemu = qemu_script(dir, k);
        profiles[k].unconfined = true;
    }
    for (unsigned i = 0; i < BOOTS; i++)
        for (unsigned k = 0; k < 2; k++) {
            struct pv_boot_opts o = {.timeout_ns = limit};
            struct pv_guest *g = pv_guest_new(env, &profiles[k]);
            int64_t start = pv_now();

            must(pv_guest_boot(g, &o, &err), &err);
            ms[k][i] = ms_since(start);
            pv_guest_free(g);
        }
    for (unsigned k = 0; k < 2; k++)
        free(profiles[k].qemu);
    pv_rm_rf(dir);
    with = quantile(ms[1], BOOTS, 0.5);
    without = quantile(ms[0], BOOTS, 0.5);
    printf("boot with the bridge for NICs %.0f ms, without %.0f ms: %.3f, medians of %d\n", with, without,
           with / without, BOOTS);
}

void bench_net(struct pv_guest_env *env, const struct pv_profile *p)
{
    bench_vms(env, p);
    bench_switch(env->host.loop);
    bench_bridge(env, p);
}

/* SPDX-License-Identifier: MIT */
/*
 * The cost of a resume, against a cold boot; against the minimum, which is the same QEMU started by hand on
 * the same memory and vmstate, until the guest's terminal has echoed a byte; and against QEMU's usual
 * migration from a file, which reads all memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "guest/snapshot.h"
#include "guest/standby.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"
#include "vm/spec.h"

enum { RUNS = 20, BOOTS = 5, CLONES = 20 };

static void resume_die(const char *what)
{
    fprintf(stderr, "bench: resume: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void run_shell(struct pv_guest *g, const char *command)
{
    struct pv_exec x = {0};
    struct pv_exec_result r = {0};
    struct pv_err err = PV_ERR_INIT;

    pv_strv_add(&x.argv, "/bin/sh");
    pv_strv_add(&x.argv, "-c");
    pv_strv_add(&x.argv, command);
    must(pv_agent_exec(pv_guest_agent(g), &x, &r, &err), &err);
    pv_strv_free(&x.argv);
    pv_exec_result_fini(&r);
}

static struct pv_guest *boot_cold(const struct pv_guest_env *env, const struct pv_profile *p, bool vsock)
{
    struct pv_boot_opts o = {.transport = PV_TRANSPORT_SERIAL, .vsock = vsock};
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = pv_guest_new(env, p);

    must(pv_guest_boot(g, &o, &err), &err);
    return g;
}

static struct pv_guest *resume_guest(const struct pv_guest_env *env, struct pv_snapshot *s)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = pv_guest_resume(env, s, NULL, &err);

    if (!g)
        must(-1, &err);
    return g;
}

/* ---- by hand ---- */

/* QEMU's files that its command line may name by their descriptors; -1: by their paths, or not at all. */
static struct pv_spawn_fd hand_files[] = {{-1, PV_QEMU_FD_INITRD}, {-1, PV_QEMU_FD_KERNEL}};

/* The command line of this process's only child, a QEMU, and the files that it names. */
static void read_argv(struct pv_strv *argv)
{
    char path[96];
    cleanup_buf struct pv_buf list = {0}, line = {0};
    struct pv_err err = PV_ERR_INIT;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    must(pv_read_file(path, 4096, &list, &err), &err);
    snprintf(path, sizeof(path), "/proc/%ld/cmdline", strtol(list.data, NULL, 10));
    must(pv_read_file(path, 1 << 20, &line, &err), &err);
    for (size_t at = 0; at < line.len; at += strlen(line.data + at) + 1)
        pv_strv_add(argv, line.data + at);
    for (size_t i = 0; i < PV_ARRAY_LEN(hand_files); i++) {
        snprintf(path, sizeof(path), "/proc/%ld/fd/%d", strtol(list.data, NULL, 10), hand_files[i].to);
        hand_files[i].from = open(path, O_RDONLY | O_CLOEXEC);
    }
}

static void wait_for_text(int fd, const char *text)
{
    char got[65536];
    size_t n = 0;

    for (;;) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        ssize_t r;

        r = poll(&pfd, 1, 20000) > 0 ? read(fd, got + n, sizeof(got) - 1 - n) : -1;
        if (r <= 0) {
            fprintf(stderr, "bench: resume: after: %.*s\n", (int)n, got);
            resume_die(text);
        }
        n += (size_t)r;
        got[n] = '\0';
        if (strstr(got, text))
            return;
    }
}

static void write_text(int fd, const char *text)
{
    if (pv_write_all(fd, text, strlen(text)) < 0)
        resume_die("write");
}

static int saved_fd(const struct pv_saved_file *files, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(files[i].name, name))
            return files[i].fd;
    errno = ENOENT;
    resume_die(name);
    return -1;
}

/* A QEMU that the benchmark controls itself. */
struct hand {
    int qmp, console, port;
    pid_t pid;
};

static int reopen(int fd)
{
    char path[64];
    int r;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = open(path, O_RDONLY | O_CLOEXEC);
    if (r < 0)
        resume_die("open again");
    return r;
}

static struct hand hand_start(const struct pv_strv *argv, int memory, int save, int load)
{
    int qmp[2], console[2], port[2];
    struct pv_err err = PV_ERR_INIT;
    struct hand h;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, port) < 0)
        resume_die("descriptors");
    h = (struct hand){.qmp = qmp[0], .console = console[0], .port = port[0]};
    struct pv_spawn_fd fds[7 + PV_ARRAY_LEN(hand_files)] = {
        {qmp[1], PV_QEMU_FD_QMP},    {console[1], PV_QEMU_FD_CONSOLE_IN}, {console[1], PV_QEMU_FD_CONSOLE},
        {port[1], PV_QEMU_FD_VSOCK}, {memory, PV_QEMU_FD_MEMORY},         {save, PV_QEMU_FD_SAVE},
        {load, PV_QEMU_FD_LOAD}};
    size_t n = 7;

    for (size_t i = 0; i < PV_ARRAY_LEN(hand_files); i++)
        if (hand_files[i].from >= 0)
            fds[n++] = hand_files[i];
    h.pid =
        pv_spawn(&(struct pv_spawn){.file = argv->v[0], .argv = argv->v, .fds = fds, .n_fds = n}, NULL, &err);
    must(h.pid, &err);
    close(qmp[1]);
    close(console[1]);
    close(port[1]);
    return h;
}

/* Loads the saved state, with all memory or none of it, and continues until the terminal echoes. */
static void hand_resume(const struct hand *h, bool all_memory)
{
    write_text(h->qmp,
               "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"migrate-set-capabilities\",\"arguments\":"
               "{\"capabilities\":[{\"capability\":\"events\",\"state\":true}]}}");
    if (!all_memory)
        write_text(h->qmp, "{\"execute\":\"migrate-set-capabilities\",\"arguments\":"
                           "{\"capabilities\":[{\"capability\":\"x-ignore-shared\",\"state\":true}]}}");
    write_text(h->qmp, "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"fd:34\"}}");
    wait_for_text(h->qmp, "\"completed\"");
    write_text(h->qmp, "{\"execute\":\"cont\"}");
    write_text(h->console, "x");
    wait_for_text(h->console, "x");
}

static void hand_end(const struct hand *h)
{
    kill(h->pid, SIGKILL);
    waitpid(h->pid, NULL, 0);
    close(h->qmp);
    close(h->console);
    close(h->port);
}

static double by_hand(const struct pv_strv *argv, int memory, int state)
{
    int save = memfd_create("save", MFD_CLOEXEC);
    int64_t start = pv_now();
    int load = reopen(state);
    struct hand h = hand_start(argv, memory, save, load);
    double ms;

    hand_resume(&h, false);
    ms = ms_since(start);
    hand_end(&h);
    close(save);
    close(load);
    return ms;
}

/* ---- the usual way: `migrate` to and from a file, with all memory ---- */

/* Sends the text, with the descriptor at its first byte. */
static void write_text_fd(int sock, const char *text, int fd)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)text, 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    if (sendmsg(sock, &m, 0) != 1)
        resume_die("sendmsg");
    write_text(sock, text + 1);
}

static double usual_save(const struct pv_strv *argv, int memory, int state, int file)
{
    int save = memfd_create("save", MFD_CLOEXEC), load = reopen(state);
    struct hand h = hand_start(argv, memory, save, load);
    int64_t start;
    double ms;

    hand_resume(&h, false);
    start = pv_now();
    write_text_fd(h.qmp, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"file\"}}", file);
    write_text(h.qmp,
               "{\"execute\":\"stop\"}{\"execute\":\"migrate-set-capabilities\",\"arguments\":"
               "{\"capabilities\":[{\"capability\":\"x-ignore-shared\",\"state\":false}]}}"
               "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"max-bandwidth\":100000000000}}"
               "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:file\"}}");
    wait_for_text(h.qmp, "\"completed\"");
    ms = ms_since(start);
    hand_end(&h);
    close(save);
    close(load);
    return ms;
}

static double usual_resume(const struct pv_strv *argv, int64_t memory_size, int file)
{
    int save = memfd_create("save", MFD_CLOEXEC), memory = memfd_create("memory", MFD_CLOEXEC);
    int load = reopen(file);
    int64_t start = pv_now();
    struct hand h;
    double ms;

    if (memory < 0 || ftruncate(memory, memory_size) < 0)
        resume_die("memory");
    h = hand_start(argv, memory, save, load);
    hand_resume(&h, true);
    ms = ms_since(start);
    hand_end(&h);
    close(save);
    close(memory);
    close(load);
    return ms;
}

static void bench_usual(const struct pv_strv *argv, int memory, int state, double ours)
{
    const char *dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp";
    int file = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    double saving, ms[BOOTS];
    struct stat st, saved;

    if (file < 0 || fstat(memory, &st) < 0)
        resume_die(dir);
    saving = usual_save(argv, memory, state, file);
    for (int i = 0; i < BOOTS; i++)
        ms[i] = usual_resume(argv, st.st_size, file);
    fstat(file, &saved);
    printf("  the usual way, `migrate` from a file with all memory (%d)  median %7.1f ms, %.1f of ours;\n"
           "    saving it so %.0f ms, %.0f MiB\n",
           BOOTS, quantile(ms, BOOTS, 0.5), quantile(ms, BOOTS, 0.5) / ours, saving,
           (double)saved.st_size / (1 << 20));
    close(file);
}

/* ---- memory ---- */

/* The PSS of this process and its children in MiB. */
static double pss_mib(void)
{
    char path[96];
    cleanup_buf struct pv_buf list = {0};
    double kib = 0;
    char *at;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    if (pv_read_file(path, 1 << 16, &list, NULL) < 0)
        return 0;
    pv_buf_addf(&list, " %d", (int)getpid());
    for (at = list.data; *at;) {
        cleanup_buf struct pv_buf roll = {0};
        const char *pss;
        long pid = strtol(at, &at, 10);

        at += strspn(at, " \n");
        snprintf(path, sizeof(path), "/proc/%ld/smaps_rollup", pid);
        if (pid > 0 && pv_read_file(path, 1 << 16, &roll, NULL) == 0 && (pss = strstr(roll.data, "\nPss:")))
            kib += strtod(pss + 5, NULL);
    }
    return kib / 1024;
}

static void bench_memory(const struct pv_guest_env *env, struct pv_snapshot *s)
{
    struct pv_guest *clones[CLONES];

    for (int i = 0; i < CLONES; i++) {
        clones[i] = resume_guest(env, s);
        exec_true(clones[i]);
    }
    printf("  PSS per idle clone with %d running, this process with it (goal: at most 40)  %5.1f MiB\n",
           CLONES, pss_mib() / CLONES);
    for (int i = 0; i < CLONES; i++)
        pv_guest_free(clones[i]);
}

/* ---- with a standby pool ---- */

struct standing {
    struct pv_standby_pool *pool;
    const struct pv_snapshot *s;
};

static bool standby_is_ready(void *arg)
{
    const struct standing *st = arg;

    return pv_standby_ready(st->pool, st->s);
}

/* Resumes a ready standby VM: `met` to the agent's READY, `ours` to the first exec's result. */
static void bench_standby(const struct pv_guest_env *env, struct pv_snapshot *s, double bare, double boot)
{
    struct pv_guest_env with = *env;
    double met[RUNS], ours[RUNS], busy[RUNS];
    struct standing st = {.s = s};
    struct pv_err err = PV_ERR_INIT;

    with.standby_pool = st.pool = pv_standby_pool_new(&with);
    for (int i = 0; i < RUNS; i++) {
        struct pv_guest *g;
        int64_t start;

        if (!pv_standby_name(st.pool, s))
            pv_standby_prepare(st.pool, s);
        must(pv_loop_run(env->host.loop, standby_is_ready, &st, pv_deadline(20 * PV_NSEC_PER_SEC), &err) ? -1
                                                                                                         : 0,
             &err);
        start = pv_now();
        g = resume_guest(&with, s);
        met[i] = ms_since(start);
        exec_true(g);
        ours[i] = ms_since(start);
        pv_guest_free(g);
    }
    for (int i = 0; i < RUNS; i++) { /* back to back, without waiting for a standby VM */
        int64_t start = pv_now();
        struct pv_guest *g = resume_guest(&with, s);

        exec_true(g);
        busy[i] = ms_since(start);
        pv_guest_free(g);
    }
    pv_standby_pool_free(st.pool);
    printf("  the same with a standby VM ready                          median %7.1f ms, agent met %.1f ms\n",
           quantile(ours, RUNS, 0.5), quantile(met, RUNS, 0.5));
    printf("    boot to resume (goal: at least 15)                             %7.1f\n",
           boot / quantile(ours, RUNS, 0.5));
    printf("    resume to QEMU by hand (goal: at most 1.25)                    %7.2f\n",
           quantile(ours, RUNS, 0.5) / bare);
    printf("    back to back, without waiting for a standby VM            median %7.1f ms\n",
           quantile(busy, RUNS, 0.5));
}

/* ---- with a vsock device of its own ---- */

/* Resumes a snapshot with a vsock device, alternating with `without`, which has none. */
static void bench_vsock(const struct pv_guest_env *env, const struct pv_profile *p,
                        struct pv_snapshot *without)
{
    double ms[2][RUNS], saving[RUNS];
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = boot_cold(env, p, true);
    struct pv_snapshot *s = pv_guest_save(g, 0, &err), *from[] = {without, s};

    must(s ? 0 : -1, &err);
    pv_guest_free(g);
    for (int i = 0; i < RUNS; i++)
        for (int with = 0; with < 2; with++) {
            int64_t start = pv_now();

            g = resume_guest(env, from[with]);
            exec_true(g);
            ms[with][i] = ms_since(start);
            if (with) {
                struct pv_snapshot *t;

                start = pv_now();
                t = pv_guest_snapshot(g, 0, &err);
                must(t ? 0 : -1, &err);
                saving[i] = ms_since(start);
                pv_snapshot_unref(t);
            }
            pv_guest_free(g);
        }
    printf("  resume to the first exec's result with vsock = true       median %7.1f ms, %.1f in turns "
           "without;\n    a snapshot of it, until it goes on with its device %.1f ms\n",
           quantile(ms[1], RUNS, 0.5), quantile(ms[0], RUNS, 0.5), quantile(saving, RUNS, 0.5));
    pv_snapshot_unref(s);
}

/* Measures BOOTS cold boots, create to the first exec's result.  Returns the last guest. */
static struct pv_guest *bench_boots(const struct pv_guest_env *env, const struct pv_profile *p,
                                    double ms[static BOOTS])
{
    struct pv_guest *g = NULL;

    for (int i = 0; i < BOOTS; i++) {
        int64_t start = pv_now();

        pv_guest_free(g);
        start = pv_now();
        g = boot_cold(env, p, false);
        exec_true(g);
        ms[i] = ms_since(start);
    }
    return g;
}

void bench_resume(const struct pv_guest_env *env, const struct pv_profile *p)
{
    double ours[RUNS], met[RUNS], bare[RUNS], boots[BOOTS], save;
    struct pv_saved_file *saved;
    struct pv_err err = PV_ERR_INIT;
    struct pv_strv argv = {0};
    struct pv_guest *g;
    struct pv_snapshot *s;
    int64_t start;
    struct stat st;
    size_t n;

    g = bench_boots(env, p, boots);
    run_shell(
        g, "sleep 100000 </dev/ttyS0 >/dev/null 2>&1 &"); /* keeps ttyS0 open: its line discipline echoes */
    start = pv_now();
    s = pv_guest_save(g, 0, &err);
    if (!s)
        must(-1, &err);
    pv_snapshot_files(s, &saved, &n);
    save = ms_since(start);
    pv_guest_free(g);
    g = resume_guest(env, s);
    read_argv(&argv);
    pv_guest_free(g);
    for (int i = 0; i < RUNS; i++) {
        bare[i] = by_hand(&argv, saved_fd(saved, n, "memory"), saved_fd(saved, n, "state"));
        start = pv_now();
        g = resume_guest(env, s);
        met[i] = ms_since(start);
        exec_true(g);
        ours[i] = ms_since(start);
        pv_guest_free(g);
    }
    fstat(saved_fd(saved, n, "memory"), &st);
    printf("resume, %d each in turns, Debian cloud kernel, 512M, 1 CPU\n", RUNS);
    printf("  cold boot, create to the first exec's result (%d)         median %7.0f ms\n", BOOTS,
           quantile(boots, BOOTS, 0.5));
    printf("  QEMU by hand on the same files, to the first echoed byte  median %7.1f ms\n",
           quantile(bare, RUNS, 0.5));
    printf("  provium, resume to the first exec's result                median %7.1f ms\n",
           quantile(ours, RUNS, 0.5));
    printf("  of this until the agent has been met                      median %7.1f ms\n",
           quantile(met, RUNS, 0.5));
    printf("  boot to resume (goal: at least 15)                               %7.1f\n",
           quantile(boots, BOOTS, 0.5) / quantile(ours, RUNS, 0.5));
    printf("  resume to QEMU by hand (goal: at most 1.25)                      %7.2f\n",
           quantile(ours, RUNS, 0.5) / quantile(bare, RUNS, 0.5));
    bench_standby(env, s, quantile(bare, RUNS, 0.5), quantile(boots, BOOTS, 0.5));
    printf("  saving it %.0f ms; memory %.0f MiB on disk of %.0f MiB\n", save, (double)st.st_blocks / 2048,
           (double)st.st_size / (1 << 20));
    bench_usual(&argv, saved_fd(saved, n, "memory"), saved_fd(saved, n, "state"), quantile(ours, RUNS, 0.5));
    bench_memory(env, s);
    bench_vsock(env, p, s);
    free(saved);
    pv_snapshot_unref(s);
    pv_strv_free(&argv);
}

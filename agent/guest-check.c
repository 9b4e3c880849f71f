/* SPDX-License-Identifier: MIT */
/*
 * For the boot tests: runs inside a guest that has loaded vsock_loopback, drives the guest's own agent over
 * AF_VSOCK, and prints the replies.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "client.h"

static void run_command(struct client *c, uint32_t id, uint64_t timeout_ms, const char *cmd)
{
    struct cl_reply a;

    cl_sh(c, id, 0, timeout_ms, cmd);
    cl_reply(c, id, NULL, 0, 60000, &a);
    printf("CHECK exec [%s]: type %#x errno %u (%s) code %u flags %u %llu us\n%.*s%.*s", cmd, a.type,
           a.errnum, a.text, a.code, a.flags, (unsigned long long)a.duration / 1000, (int)a.data[1].n,
           (const char *)a.data[1].p, (int)a.data[2].n, (const char *)a.data[2].p);
    cl_reply_free(&a);
}

/* ---- workers ---- */

static bool dial(struct client *c, unsigned port)
{
    const struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = port};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
        return false;
    cl_adopt(c, fd);
    return cl_recv(c, 10000) == 1 && c->type == PV_MSG_READY;
}

static int64_t make_syscall(struct client *c, uint64_t nr, uint64_t a0, uint64_t a1)
{
    struct cl_reply a;
    int64_t value;

    cl_syscall(c, 77, 0, nr, (const uint64_t[6]){a0, a1}, NULL, 0, NULL, 0);
    cl_reply(c, 77, NULL, 0, 20000, &a);
    value = a.type == PV_MSG_SYSRET ? (int64_t)a.value : -10000 - (int64_t)a.type;
    cl_reply_free(&a);
    return value;
}

struct worker {
    struct client c;
    uint32_t pid;
};

static bool spawn_worker(struct client *main, bool thread, struct worker *w)
{
    struct cl_reply a;
    bool ok;

    cl_u32(main, PV_MSG_SPAWN, 5, thread ? PV_SPAWN_THREAD : 0);
    cl_reply(main, 5, NULL, 0, 20000, &a);
    w->pid = a.pid;
    ok = a.type == PV_MSG_WORKER && dial(&w->c, a.port);
    if (!ok)
        printf("CHECK no worker: type %#x errno %u %s\n", a.type, a.errnum, a.text);
    cl_reply_free(&a);
    return ok;
}

static void print_status(struct client *c, uint32_t pid, const char *what)
{
    struct cl_reply a;

    cl_u32(c, PV_MSG_STATUS, 6, pid);
    cl_reply(c, 6, NULL, 0, 20000, &a);
    printf("CHECK %s: type %#x running %u code %u signal %u\n", what, a.type, a.running, a.code, a.signal);
    cl_reply_free(&a);
}

/* Prints whether the worker's connection ends, and its status. */
static void print_end(struct client *main, struct worker *w, const char *what)
{
    int r = cl_recv(&w->c, 10000);

    printf("CHECK %s: connection %s\n", what, r == 0 ? "ended" : "still there");
    print_status(main, w->pid, what);
}

enum { WORKERS = 64 };

/* 64 workers at once, each with its own credentials and (in a fork) descriptors, and a command in each. */
static void check_workers(struct client *main, bool thread)
{
    static struct worker w[WORKERS];
    const char *kind = thread ? "thread" : "fork";
    unsigned up = 0, uids = 0, fds = 0, ids = 0;
    struct cl_reply a;
    char text[32];

    for (unsigned i = 0; i < WORKERS && spawn_worker(main, thread, &w[i]); i++)
        up++;
    for (unsigned i = 0; i < up; i++)
        make_syscall(&w[i].c, SYS_setuid, 1000 + i, 0);
    int64_t fd = make_syscall(main, SYS_eventfd2, 0, 0);

    for (unsigned i = 0; i < up; i++) {
        uids += make_syscall(&w[i].c, SYS_getuid, 0, 0) == 1000 + i;
        fds += make_syscall(&w[i].c, SYS_fcntl, (uint64_t)fd, 1 /* F_GETFD */) == 0;
    }
    printf("CHECK %s: %u up, %u uids, main %lld, descriptor seen by %u\n", kind, up, uids,
           (long long)make_syscall(main, SYS_getuid, 0, 0), fds);
    for (unsigned i = 0; i < up; i++) /* at the same time */
        cl_sh(&w[i].c, 8, 0, 0, "id -u");
    for (unsigned i = 0; i < up; i++) {
        cl_reply(&w[i].c, 8, NULL, 0, 60000, &a);
        snprintf(text, sizeof(text), "%u\n", 1000 + i);
        ids += a.data[1].n == strlen(text) && memcmp(a.data[1].p, text, strlen(text)) == 0;
        cl_reply_free(&a);
    }
    printf("CHECK %s: %u commands\n", kind, ids);
    make_syscall(main, SYS_close, (uint64_t)fd, 0);
    if (up < 4)
        return;
    cl_syscall(&w[0].c, 1, 0, SYS_exit, (const uint64_t[6]){3}, NULL, 0, NULL, 0);
    print_end(main, &w[0], thread ? "thread-exit" : "fork-exit");
    cl_stop(&w[1].c);
    print_status(main, w[1].pid, thread ? "thread-closed" : "fork-closed");
    cl_u32(&w[2].c, PV_MSG_SPAWN, 3, 0);
    cl_reply(&w[2].c, 3, NULL, 0, 20000, &a);
    printf("CHECK %s spawns: errno %u\n", kind, a.errnum);
    cl_reply_free(&a);
    print_status(main, w[2].pid, thread ? "thread-alive" : "fork-alive");
    cl_syscall(&w[3].c, 1, 0, SYS_munmap, (const uint64_t[6]){0, UINT64_C(0x7ffffffff000)}, NULL, 0, NULL, 0);
    if (!thread)
        print_end(main, &w[3], "fork-crash");
    for (unsigned i = 4; i < up && !thread; i++)
        cl_stop(&w[i].c);
    if (thread) { /* it took all threads with it, and the session that made them: ask in a new session */
        struct client next;
        uint32_t main_pid = w[WORKERS - 1].pid;

        printf("CHECK thread-crash: main %d\n", cl_recv(main, 10000));
        if (dial(&next, PV_AGENT_PORT)) {
            print_status(&next, w[3].pid, "thread-crash");
            print_status(&next, main_pid, "thread-other");
            run_command(&next, 1, 0, "echo still usable; ls /proc/*/comm | wc -l");
        }
        *main = next;
    }
}

/* A worker without a connection ends after 10 s. */
static void check_unconnected(struct client *main)
{
    struct cl_reply a;
    time_t begin = time(NULL);
    bool runs = true;

    cl_u32(main, PV_MSG_SPAWN, 5, 0);
    cl_reply(main, 5, NULL, 0, 20000, &a);
    while (runs && time(NULL) - begin < 30) {
        struct cl_reply st;

        cl_u32(main, PV_MSG_STATUS, 6, a.pid);
        cl_reply(main, 6, NULL, 0, 20000, &st);
        runs = st.running;
        cl_reply_free(&st);
    }
    printf("CHECK lonely: %s after 9 to 20 s: %d\n", runs ? "runs" : "ended",
           time(NULL) - begin >= 9 && time(NULL) - begin <= 20);
    cl_reply_free(&a);
}

int main(int argc, char **argv)
{
    const struct sockaddr_vm to = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = PV_AGENT_PORT};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct client c;
    struct cl_reply a;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
        perror("CHECK connect");
        return 1;
    }
    cl_adopt(&c, fd);
    if (cl_recv(&c, 5000) != 1 || c.type != PV_MSG_READY) {
        printf("CHECK no READY (type %#x)\n", c.type);
        return 1;
    }
    printf("CHECK READY\n");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-vfs") == 0 || strcmp(argv[i], "-off") == 0) {
            uint8_t buf[64];
            struct pv_enc e = {.p = buf, .cap = sizeof(buf)};
            bool off = argv[i][1] == 'o';

            pv_enc_begin(&e, off ? PV_MSG_SHUTDOWN : PV_MSG_MOUNT_VFS);
            pv_enc_u32(&e, (uint32_t)i);
            if (off)
                pv_enc_u32(&e, PV_SHUTDOWN_POWEROFF);
            cl_send(&c, &e);
            cl_reply(&c, (uint32_t)i, NULL, 0, 20000, &a);
            printf("CHECK %s: type %#x errno %u %s\n", argv[i], a.type, a.errnum, a.text);
            if (off)
                pause();
            continue;
        }
        if (strcmp(argv[i], "-fork") == 0 || strcmp(argv[i], "-thread") == 0) {
            check_workers(&c, argv[i][1] == 't');
            continue;
        }
        if (strcmp(argv[i], "-lonely") == 0) {
            check_unconnected(&c);
            continue;
        }
        if (strcmp(argv[i], "-dmesg") == 0) {
            cl_id(&c, PV_MSG_DMESG, (uint32_t)i);
            cl_reply(&c, (uint32_t)i, NULL, 0, 20000, &a);
            printf("CHECK dmesg: type %#x, %d lines, begins %.40s\n", a.type, a.data[0].n > 1000,
                   a.data[0].n > 40 ? (const char *)a.data[0].p : "");
            cl_reply_free(&a);
            continue;
        }
        run_command(&c, (uint32_t)i, strncmp(argv[i], "T:", 2) == 0 ? 1000 : 0,
                    argv[i] + (strncmp(argv[i], "T:", 2) == 0 ? 2 : 0));
    }
    printf("CHECK done\n");
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The door of the pool: messages of a file's process that a test has corrupted.  Input: messages, each after a byte:
 * bits 0-4 are its length, bits 5-6 the descriptor beside it (FD_*), bit 7 repeats that descriptor.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "childproto/leasemsg.h"
#include "loop/loop.h"
#include "pool/server.h"
#include "util/clock.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FD_NONE, FD_CHANNEL, FD_PIDFD, FD_OTHER };

/* The file's process has sent an invalid message; nothing of it may be believed from then on. */
static void on_fail(struct pv_pool_file *f, const char *fault, void *arg)
{
    bool *failed = arg;

    (void)f;
    if (*failed || !fault || !*fault)
        abort();
    *failed = true;
}

static void on_waits(struct pv_pool_file *f, bool does, void *arg)
{
    (void)f;
    (void)does;
    (void)arg;
}

static void on_restart(struct pv_pool_file *f, const char *why, void *arg)
{
    (void)f;
    (void)arg;
    if (!why || !*why)
        abort();
}

/* A pidfd of a process that has ended: a preemption kills nothing. */
static int ended_process(void)
{
    static int fd = -1;
    pid_t pid;

    if (fd >= 0)
        return fd;
    pid = fork();
    if (pid == 0)
        _exit(0);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 || waitpid(pid, NULL, 0) != pid)
        abort();
    return fd;
}

static void message_send(int sock, const void *data, size_t n, unsigned kind, bool twice)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)data, n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int pair[2] = {-1, -1}, fds[2];
    struct cmsghdr *c;

    if (kind == FD_CHANNEL && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    fds[0] = fds[1] = kind == FD_CHANNEL ? pair[1] : kind == FD_PIDFD ? ended_process() : sock;
    if (kind != FD_NONE) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE((twice ? 2 : 1) * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN((twice ? 2 : 1) * sizeof(int)),
                              .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), fds, (twice ? 2 : 1) * sizeof(int));
    }
    sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    pv_close(&pair[0]);
    pv_close(&pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_loop *loop = pv_loop_new(NULL);
    struct pv_pool_file file = {0};
    struct pv_lease_reply reply;
    bool failed = false;
    struct pv_pool_server *s = pv_pool_server_new(loop, &(struct pv_pool_server_opts){.memory = 1 << 30,
                                                                                      .cpus = 8,
                                                                                      .waits = on_waits,
                                                                                      .restart = on_restart,
                                                                                      .fail = on_fail,
                                                                                      .arg = &failed});
    int sock = pv_pool_server_join(s, &file, NULL);

    if (sock < 0)
        abort();
    for (int i = 0; size && i < 64; i++) {
        size_t n = (*data & 31) < size - 1 ? *data & 31 : size - 1;

        message_send(sock, data + 1, n, *data >> 5 & 3, *data >> 7);
        data += n + 1;
        size -= n + 1;
        pv_loop_run(loop, NULL, NULL, pv_now(), NULL);
        while (recv(sock, &reply, sizeof(reply), MSG_DONTWAIT) > 0)
            if (!memchr(reply.text, '\0', sizeof(reply.text)))
                abort();
        if (file.held.memory > 1 << 30 || file.held.cpus > 8)
            abort();
    }
    pv_pool_server_leave(s, &file);
    if (file.held.memory || file.held.cpus)
        abort();
    pv_pool_server_free(s);
    close(sock);
    pv_loop_free(loop);
    return 0;
}

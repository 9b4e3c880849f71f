/* SPDX-License-Identifier: MIT */
#include "testfile/builder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "childproto/lease.h"
#include "testfile/builder-link.h"
#include "testfile/builder-main.h"
#include "testfile/testfile.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"

static void set_text(char **to, const char *text, size_t n)
{
    free(*to);
    *to = pv_xstrndup(text, n);
}

/* Appends a tail of "VM of fixture NAME". */
static void build_add_tail(struct tf_build *b, const char *vm, size_t vm_n, const char *text, size_t n)
{
    pv_tf_tails_add(&b->tails, pv_xasprintf("%.*s of fixture %s", (int)vm_n, vm, b->name), text, n);
}

static enum tf_build_outcome message_outcome(char kind)
{
    static const struct {
        enum tf_msg kind;
        enum tf_build_outcome outcome;
    } ends[] = {
        {TF_MSG_DONE, TF_BUILD_DONE},    {TF_MSG_FAILED, TF_BUILD_FAILED}, {TF_MSG_MOVED, TF_BUILD_MOVED},
        {TF_MSG_SKIP, TF_BUILD_SKIPPED}, {TF_MSG_TODO, TF_BUILD_TODO},
    };

    for (size_t i = 0; i < PV_ARRAY_LEN(ends); i++)
        if (ends[i].kind == (enum tf_msg)kind)
            return ends[i].outcome;
    return TF_BUILD_RUNNING;
}

static void build_on_message(struct tf_build *b, const char *msg, size_t n)
{
    const char *text = msg + 2;
    enum tf_build_outcome outcome;
    size_t vm_n;

    if (n < 2)
        return;
    n -= 2;
    switch ((enum tf_msg)msg[0]) {
    case TF_MSG_PHASE:
        set_text(&b->phase, text, n);
        if (b->on_phase)
            b->on_phase(b->phase, b->arg);
        return;
    case TF_MSG_LOGS:
        set_text(&b->log_dir, text, n);
        return;
    case TF_MSG_TAIL:
        vm_n = strnlen(text, n);
        if (vm_n < n)
            build_add_tail(b, text, vm_n, text + vm_n + 1, n - vm_n - 1);
        return;
    default:
        break;
    }
    outcome = message_outcome(msg[0]);
    if (outcome == TF_BUILD_RUNNING)
        return;
    b->outcome = outcome;
    b->cls = (unsigned char)msg[1] < PV_CLASS_COUNT ? (enum pv_class)msg[1] : PV_CLASS_HARNESS;
    set_text(&b->text, text, n);
}

static void build_drain(struct tf_build *b)
{
    char msg[TF_MSG_MAX];

    while (b->sock >= 0) {
        ssize_t n = recv(b->sock, msg, sizeof(msg), MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            pv_loop_del(b->loop, &b->sock_watch);
            pv_close(&b->sock);
            return;
        }
        build_on_message(b, msg, (size_t)n);
    }
}

static void build_on_sock(struct pv_watch *w, uint32_t events)
{
    (void)events;
    build_drain(PV_CONTAINER_OF(w, struct tf_build, sock_watch));
}

/* The build ends with its process, not with the message: then its VMs and leases are gone too. */
static void build_on_exit(struct pv_watch *w, uint32_t events)
{
    struct tf_build *b = PV_CONTAINER_OF(w, struct tf_build, proc_watch);
    char how[64];
    int status = 0;

    (void)events;
    while (waitpid(b->pid, &status, 0) < 0 && errno == EINTR)
        ;
    b->pid = 0;
    pv_loop_del(b->loop, &b->proc_watch);
    pv_close(&b->pidfd);
    build_drain(b);
    if (b->outcome != TF_BUILD_RUNNING)
        return;
    b->outcome = TF_BUILD_DIED;
    b->cls = PV_CLASS_HARNESS;
    pv_wait_status_text(status, how);
    set_text(&b->text, how, strlen(how));
}

int pv_tf_build_start(struct tf_build *b, struct pv_testfile *tf, const struct tf_build_opts *o,
                      struct pv_err *err)
{
    int sv[2], e;
    struct pv_lease *lease = NULL;
    pid_t parent = getpid();

    b->loop = tf->loop;
    b->name = o->name;
    b->pidfd = b->sock = -1;
    b->proc_watch = (struct pv_watch){.fd = -1, .fn = build_on_exit};
    b->sock_watch = (struct pv_watch){.fd = -1, .fn = build_on_sock};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
        return pv_err_sys(err, errno, "cannot make a socket pair");
    if (tf->env->lease && !(lease = pv_lease_fork(tf->env->lease, err))) {
        close(sv[0]);
        close(sv[1]);
        return -1;
    }
    fflush(NULL);
    b->pid = fork();
    if (b->pid == 0)
        pv_tf_builder_main(tf, o, sv[1], lease, parent);
    e = errno;
    pv_lease_free(lease); /* the builder's copy stays */
    close(sv[1]);
    b->sock = sv[0];
    if (b->pid < 0) {
        b->pid = 0;
        pv_tf_build_fini(b);
        return pv_err_sys(err, e, "cannot fork");
    }
    b->pidfd = (int)syscall(SYS_pidfd_open, b->pid, 0);
    e = errno;
    if (b->pidfd < 0) {
        pv_tf_build_fini(b);
        return pv_err_sys(err, e, "cannot open a pidfd (Linux 5.3 or newer is needed)");
    }
    if (pv_loop_add(b->loop, &b->proc_watch, b->pidfd, EPOLLIN, err) < 0 ||
        pv_loop_add(b->loop, &b->sock_watch, b->sock, EPOLLIN, err) < 0) {
        pv_tf_build_fini(b);
        return -1;
    }
    return 0;
}

/* Adds the last lines of a console log: its VM's process can send no tail any more. */
static void build_add_log_tail(struct tf_build *b, const char *leaf)
{
    cleanup_free char *path = pv_path_join(b->log_dir, leaf);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char buf[8192];
    struct stat st;
    size_t from, end;
    unsigned lines = 0;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    n = pread(fd, buf, sizeof(buf), st.st_size > (off_t)sizeof(buf) ? st.st_size - (off_t)sizeof(buf) : 0);
    if (n <= 0)
        return;
    for (end = (size_t)n; end > 0 && (buf[end - 1] == '\n' || buf[end - 1] == '\r');)
        end--;
    for (from = end; from > 0; from--)
        if (buf[from - 1] == '\n' && ++lines == TF_TAIL_LINES)
            break;
    if (end > from)
        build_add_tail(b, leaf, strcspn(leaf, "-."), buf + from, end - from);
}

void pv_tf_build_kill(struct tf_build *b)
{
    DIR *dir;
    struct dirent *e;

    if (b->pid > 0) {
        kill(b->pid, SIGKILL);
        while (waitpid(b->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        b->pid = 0;
    }
    pv_loop_del(b->loop, &b->proc_watch);
    build_drain(b);
    dir = b->log_dir && !b->tails.first ? opendir(b->log_dir) : NULL;
    while (dir && (e = readdir(dir)))
        build_add_log_tail(b, e->d_name);
    if (dir)
        closedir(dir);
}

void pv_tf_build_fini(struct tf_build *b)
{
    if (!b->loop)
        return;
    if (b->pid > 0)
        pv_tf_build_kill(b);
    pv_loop_del(b->loop, &b->proc_watch);
    pv_loop_del(b->loop, &b->sock_watch);
    pv_close(&b->pidfd);
    pv_close(&b->sock);
    pv_tf_tails_free(&b->tails);
    free(b->text);
    free(b->phase);
    free(b->log_dir);
    *b = (struct tf_build){0};
}

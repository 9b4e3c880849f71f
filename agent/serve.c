/* SPDX-License-Identifier: MIT */
/*
 * The supervisor holds nothing but the listening socket, so no request can take the guest's agent away.  It
 * survives in a guest that is out of memory, kills every process, or switches to another root: OOM score
 * -1000, signals ignored, no descriptor on a mount that anyone else sees.
 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "high-fd.h"
#include "boot.h"
#include "session.h"
#include "signals.h"
#include "switch-root.h"
#include "process-table.h"
#include "util.h"
#include "vsock.h"
#include "world.h"

enum { SESSIONS_MAX = 128 };

static void set_names(char **argv)
{
    static const char name[] = "@provium-agent";
    size_t room = 0;

    /* The kernel stores the arguments one behind the other, from argv[0] on. */
    if (argv && argv[0]) {
        room = strlen(argv[0]) + 1;
        for (size_t i = 1; argv[i] && argv[i] == argv[0] + room; i++)
            room += strlen(argv[i]) + 1;
        memset(argv[0], 0, room);
        memcpy(argv[0], name, room < sizeof(name) ? room - 1 : sizeof(name));
    }
    prctl(PR_SET_NAME, "provium-agent");
}

/* /dev/null; without a /dev, from the private devtmpfs or a node that is unlinked at once. */
static int open_null(int dev_fd)
{
    int fd = openat(dev_fd < 0 ? AT_FDCWD : dev_fd, dev_fd < 0 ? "/dev/null" : "null", O_RDWR | O_CLOEXEC);

    if (fd < 0 && mknod("/.provium-null", S_IFCHR | 0666, 1 << 8 | 3) == 0) {
        fd = open("/.provium-null", O_RDWR | O_CLOEXEC);
        unlink("/.provium-null");
    }
    int p[2];

    if (fd >= 0 || pipe2(p, O_CLOEXEC) < 0)
        return fd;
    close(p[1]); /* on a read-only root: a pipe that reads as ended, like /dev/null */
    return p[0];
}

static void accept_session(const struct ag_serve *s, const struct ag_world *w, int *n_sessions)
{
    int fd = ag_vsock_accept(s->listen_fd);

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            ag_sleep_ms(10); /* out of descriptors or memory: no busy loop */
        return;
    }
    struct ag_slot *slot = *n_sessions < SESSIONS_MAX && w->table ? ag_process_table_take(w->table) : NULL;
    pid_t pid = slot ? fork() : -1;

    if (slot && pid < 0)
        ag_slot_end(slot, 0);
    if (pid > 0) {
        slot->pid = pid;
        slot->session = true;
    }
    if (pid == 0) {
        close(s->listen_fd);
        ag_session_main(fd, w);
    }
    if (pid > 0)
        ++*n_sessions;
    close(fd);
}

/* Waits for all children that have ended: sessions, workers, orphans.  Returns how many were sessions. */
static int reap_children(const struct ag_world *w)
{
    int n = 0, status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        n += w->table && ag_process_table_gone(w->table, pid, status);
    return n;
}

/*
 * The multiplexer carries all bytes, so it gets the largest share of the CPU whatever commands do.  Not
 * real-time priority: that would preempt at each wake-up, which costs two switches for each page of a large
 * file and doubles the time.  Children have the normal priority.
 */
static void prefer_multiplexer(void)
{
    const struct sched_param p = {.sched_priority = 0};

    setpriority(PRIO_PROCESS, 0, -20);
    syscall(SYS_sched_setscheduler, 0, SCHED_BATCH | SCHED_RESET_ON_FORK, &p);
}

/* Init that cannot be executed ends the boot: READY before that would say otherwise. */
static void await_init(int exec_fd)
{
    char byte;

    while (read(exec_fd, &byte, 1) < 0 && errno == EINTR)
        ;
    close(exec_fd);
}

void ag_serve_main(const struct ag_serve *s, char **argv)
{
    struct ag_world w = {.proc_fd = s->proc_fd,
                         .dev_fd = s->dev_fd,
                         .ctl_fd = -1,
                         .life_fd = -1,
                         .follow_init = true,
                         .in_guest = true};
    struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
    sigset_t none;
    int n_sessions = 0;

    setsid();
    set_names(argv);
    ag_signals_ignore(true);
    sigemptyset(&none);
    ag_signals_catch_children();
    ag_oom_score(s->proc_fd, "-1000");
    w.null_fd = open_null(s->dev_fd);
    for (int i = 0; i < 3; i++)
        if (w.null_fd < 0 || dup2(w.null_fd, i) < 0)
            close(i);
    ag_world_init(&w);
    ag_switch_start(s->boot);
    await_init(s->exec_fd);
    w.root_switch = s->boot->root_switch;
    ag_forget_sums(s->boot);
    ag_high_world(&w);
    w.table = ag_process_table_new();
    if (s->port_fd >= 0) {
        prefer_multiplexer();
        ag_serve_serial(s->port_fd, &w);
    }
    for (;;) {
        int r = ppoll(&p, 1, NULL, &none);

        n_sessions -= reap_children(&w);
        if (r > 0)
            accept_session(s, &w, &n_sessions);
    }
}

/* For tests on the host. */
static struct ag_world host_world(int fd)
{
    struct ag_world w = {.dev_fd = -1, .ctl_fd = -1, .life_fd = -1};
    int flags = fcntl(fd, F_GETFL);

    w.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        _exit(2);
    umask(0);
    w.table = ag_process_table_new();
    prctl(PR_SET_NAME, "provium-agent");
    ag_signals_ignore(true);
    return w;
}

void ag_serve_fd(int fd)
{
    struct ag_world w = host_world(fd);

    ag_session_main(fd, &w);
}

void ag_serve_mux_fd(int fd)
{
    struct ag_world w = host_world(fd);

    ag_signals_catch_children();
    ag_serve_serial(fd, &w);
}

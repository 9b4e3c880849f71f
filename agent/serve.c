/* SPDX-License-Identifier: MIT */
/*
 * The supervisor holds nothing but the listening socket, so nothing that a test does to a session can take
 * the guest's agent away.  A guest that is out of memory, that kills every process, or whose init switches
 * to another root keeps it: OOM score -1000, signals ignored, no descriptor on any visible mount.
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

#include <linux/vm_sockets.h>

#include "session.h"
#include "table.h"
#include "util.h"
#include "wire/proto.h"

enum { SESSIONS_MAX = 128, BACKLOG = 32 };

/*
 * 1 MiB in place of 256 KiB before the other side has to wait for credit; the maximum first, which caps it.
 * Sockets that are accepted inherit it.
 */
void ag_socket_buffers(int fd)
{
    static const int options[] = {SO_VM_SOCKETS_BUFFER_MAX_SIZE, SO_VM_SOCKETS_BUFFER_SIZE};
    const uint64_t size = 1 << 20;

    for (size_t i = 0; i < 2; i++)
        setsockopt(fd, AF_VSOCK, options[i], &size, sizeof(size));
}

int ag_listen(void)
{
    const struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_port = PV_AGENT_PORT,
        .svm_cid = VMADDR_CID_ANY,
    };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    ag_socket_buffers(fd);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int e = errno;

    close(fd);
    errno = e;
    return -1;
}

static void set_names(char **argv)
{
    static const char name[] = "@provium-agent";
    size_t room = 0;

    /* The kernel lays the arguments out one behind the other, from argv[0] on. */
    if (argv && argv[0]) {
        room = strlen(argv[0]) + 1;
        for (size_t i = 1; argv[i] && argv[i] == argv[0] + room; i++)
            room += strlen(argv[i]) + 1;
        memset(argv[0], 0, room);
        memcpy(argv[0], name, room < sizeof(name) ? room - 1 : sizeof(name));
    }
    prctl(PR_SET_NAME, "provium-agent");
}

void ag_ignore_signals(bool ignore)
{
    /* Those that a shutting-down init, a terminal, a broken connection or a file that got too large send. */
    static const int sigs[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE,
                               SIGALRM, SIGTTIN, SIGTTOU, SIGTSTP, SIGPWR,  SIGXFSZ};
    struct sigaction sa = {.sa_handler = ignore ? SIG_IGN : SIG_DFL};

    for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
        sigaction(sigs[i], &sa, NULL);
    /* Two that libc keeps to itself (32, 33) come ignored from some parents: glibc's posix_spawn does that.
     */
    for (int sig = 32; !ignore && sig < 34; sig++) {
        static const struct {
            unsigned long handler, flags, restorer, mask;
        } dfl; /* the kernel's struct sigaction: SIG_DFL is 0 */

        syscall(SYS_rt_sigaction, sig, &dfl, NULL, sizeof(dfl.mask));
    }
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
}

/* /dev/null without a /dev: from the private devtmpfs, else a node of our own that is unlinked at once. */
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
    close(p[1]); /* a read-only root: at its end at once, as /dev/null is */
    return p[0];
}

static void serve_one(const struct ag_serve *s, const struct ag_world *w, int *n_sessions)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            ag_sleep_ms(10); /* out of something: no busy loop */
        return;
    }
    struct ag_slot *slot = *n_sessions < SESSIONS_MAX && w->table ? ag_table_take(w->table) : NULL;
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

/* Sessions, workers, and what a session's own system calls have made our child. Returns how many sessions. */
static int reap(const struct ag_world *w)
{
    int n = 0, status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        n += w->table && ag_table_gone(w->table, pid, status);
    return n;
}

static volatile sig_atomic_t child_ended;

/* SIGCHLD mostly has to interrupt the poll. */
static void on_child(int sig)
{
    (void)sig;
    child_ended = true;
}

bool ag_children_ended(void)
{
    bool ended = child_ended;

    child_ended = false;
    return ended;
}

/* ... which waits with an empty mask. */
static void catch_children(void)
{
    struct sigaction chld = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP};
    sigset_t block;

    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_SETMASK, &block, NULL);
    sigaction(SIGCHLD, &chld, NULL);
}

/*
 * All bytes pass through the multiplexer, whatever a command does: the largest share of the CPU that there
 * is. But it does not preempt at each wake-up, as real-time would: then each page of a large file costs two
 * switches, and twice the time.  What it forks has the usual priority.
 */
static void batch_first(void)
{
    const struct sched_param p = {.sched_priority = 0};

    setpriority(PRIO_PROCESS, 0, -20);
    syscall(SYS_sched_setscheduler, 0, SCHED_BATCH | SCHED_RESET_ON_FORK, &p);
}

void ag_serve_main(const struct ag_serve *s, char **argv)
{
    struct ag_world w = {.proc_fd = s->proc_fd,
                         .dev_fd = s->dev_fd,
                         .ctl_fd = -1,
                         .life_fd = -1,
                         .follow_init = true,
                         .may_halt = true};
    struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
    sigset_t none;
    int n_sessions = 0;

    setsid();
    set_names(argv);
    ag_ignore_signals(true);
    sigemptyset(&none);
    catch_children();
    ag_oom_score(s->proc_fd, "-1000");
    w.null_fd = open_null(s->dev_fd);
    for (int i = 0; i < 3; i++)
        if (w.null_fd < 0 || dup2(w.null_fd, i) < 0)
            close(i);
    ag_world_init(&w);
    w.table = ag_table_new();
    if (s->port_fd >= 0) {
        batch_first();
        ag_serve_serial(s->port_fd, &w);
    }
    for (;;) {
        int r = ppoll(&p, 1, NULL, &none);

        n_sessions -= reap(&w);
        if (r > 0)
            serve_one(s, &w, &n_sessions);
    }
}

/* A world for tests on the host. */
static struct ag_world world_here(int fd)
{
    struct ag_world w = {.dev_fd = -1, .ctl_fd = -1, .life_fd = -1};
    int flags = fcntl(fd, F_GETFL);

    w.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        _exit(2);
    umask(0);
    w.table = ag_table_new();
    prctl(PR_SET_NAME, "provium-agent");
    ag_ignore_signals(true);
    return w;
}

void ag_serve_fd(int fd)
{
    struct ag_world w = world_here(fd);

    ag_session_main(fd, &w);
}

void ag_serve_mux_fd(int fd)
{
    struct ag_world w = world_here(fd);

    catch_children();
    ag_serve_serial(fd, &w);
}

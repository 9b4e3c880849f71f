/* SPDX-License-Identifier: MIT */
#include "vm/virtiofsd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/sock.h"
#include "util/spawn.h"
#include "util/text.h"
#include "vm/confine.h"
#include "vm/share.h"
#include "vm/version.h"
#include "vm/virtiofsd-view.h"

enum { START_SECONDS = 10, EXIT_MS = 500, WORDS_MAX = 4096, LISTEN_FD = 3, RULESET_FD = 4 };

struct pv_virtiofsd {
    struct pv_loop *loop;
    char *program, *dir;
    pid_t pid; /* leads a process group: with its sandbox it is two processes; -1: none, or reaped */
    int pidfd;
    int status; /* once reaped */
    int qemu_fd;
    int words_fd;        /* its standard error */
    struct pv_buf words; /* the last ones */
    struct pv_watch exit, output;
    void (*on_end)(const char *why, void *arg);
    void *arg;
};

/* ---- the program ---- */

void pv_virtiofsd_program_fini(struct pv_virtiofsd_program *p)
{
    free(p->path);
    *p = (struct pv_virtiofsd_program){0};
}

static char *program_look(struct pv_err *err)
{
    static const char *const places[] = {"virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd",
                                         "/usr/lib/qemu/virtiofsd"};
    const char *named = getenv("PROVIUM_VIRTIOFSD");
    char *path = NULL;

    if (named && *named) {
        path = pv_find_program(named);
        if (!path)
            pv_err_set(
                err, PV_E_USAGE,
                "PROVIUM_VIRTIOFSD names '%s', which was not found or is no program that may be executed; "
                "expected the path of virtiofsd, or unset the variable",
                named);
        return path;
    }
    for (size_t i = 0; !path && i < PV_ARRAY_LEN(places); i++)
        path = pv_find_program(places[i]);
    if (!path)
        pv_err_set(err, PV_E_MISSING,
                   "there is no virtiofsd (apt install virtiofsd; on Debian 12: qemu-system-common)");
    return path;
}

int pv_virtiofsd_find(struct pv_virtiofsd_program *p, struct pv_err *err)
{
    cleanup_free char *help = NULL;

    *p = (struct pv_virtiofsd_program){.path = program_look(err)};
    if (!p->path)
        return -1;
    help = pv_program_output(p->path, (char *[]){p->path, (char *)"-h", NULL}, err);
    if (help && strstr(help, "--shared-dir")) {
        p->rust = true;
        p->read_only = strstr(help, "--readonly") != NULL;
        return 0;
    }
    if (help && !strstr(help, "sandbox=namespace"))
        pv_err_set(err, PV_E_MISSING, "'%s -h' tells of no virtiofsd that is known%s", p->path,
                   geteuid() ? ": that of Debian 12 needs root, also for this" : "");
    else if (help && geteuid() == 0)
        return 0;
    else if (help)
        pv_err_set(err, PV_E_MISSING, "%s is the one of C, which needs root", p->path);
    pv_virtiofsd_program_fini(p);
    return -1;
}

/* ---- its command line ---- */

/* Capabilities of the daemon that no way of sharing needs; a read-only one creates nothing and so changes to no user. */
#define NO_CAPS "-mknod:-setfcap"
#define NO_CAPS_READ_ONLY NO_CAPS ":-chown:-fowner:-fsetid:-setgid:-setuid"

static void args_of_c(const struct pv_virtiofsd_view *v, struct pv_strv *argv)
{
    pv_strv_addf(argv, "--fd=%d", LISTEN_FD);
    pv_strv_add(argv, "--rlimit-nofile=0");
    pv_strv_add(argv, "-o");
    pv_strv_addf(argv, "source=%s,sandbox=namespace,log_level=warn,xattr", v->place);
    pv_strv_add(argv, "-o");
    pv_strv_addf(argv, "modcaps=%s", v->writable ? NO_CAPS : NO_CAPS_READ_ONLY);
}

/* An ordinary user's own user namespace would show all other users' files as nobody's. */
static void args_of_rust(const struct pv_virtiofsd_program *p, const struct pv_virtiofsd_view *v,
                         struct pv_strv *argv)
{
    bool root = geteuid() == 0;

    pv_strv_addf(argv, "--fd=%d", LISTEN_FD);
    pv_strv_add(argv, "--rlimit-nofile=0");
    pv_strv_add(argv, "--shared-dir");
    pv_strv_add(argv, v->place ? v->place : v->dir);
    pv_strv_addf(argv, "--sandbox=%s", v->place ? "namespace" : root ? "chroot" : "none");
    pv_strv_add(argv, "--no-announce-submounts");
    pv_strv_add(argv, "--log-level=warn");
    pv_strv_add(argv, "--xattr");
    if (!v->writable && p->read_only)
        pv_strv_add(argv, "--readonly");
    if (root)
        pv_strv_addf(argv, "--modcaps=%s", v->writable ? NO_CAPS : NO_CAPS_READ_ONLY);
}

/* ---- the process ---- */

static void output_close(struct pv_virtiofsd *fs)
{
    pv_loop_del(fs->loop, &fs->output);
    pv_close(&fs->words_fd);
}

/* The guest may be what makes it write: only the last words are kept. */
static void words_read(struct pv_virtiofsd *fs)
{
    char part[1024];
    ssize_t n = 0;

    for (int i = 0; i < 64 && fs->words_fd >= 0; i++) {
        n = read(fs->words_fd, part, sizeof(part));
        if (n <= 0)
            break;
        pv_buf_add(&fs->words, part, (size_t)n);
        if (fs->words.len > WORDS_MAX)
            pv_buf_consume(&fs->words, fs->words.len - WORDS_MAX);
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        output_close(fs);
}

/*
 * Both of its processes end, while the number of its group is still its own.  At the end of its connection the daemon exits,
 * and its first process reaps the second one, which is init's otherwise.
 */
static void process_reap(struct pv_virtiofsd *fs, bool kill_it)
{
    struct pollfd p = {.fd = fs->pidfd, .events = POLLIN};
    siginfo_t si;

    if (fs->pid <= 0)
        return;
    pv_close(&fs->qemu_fd);
    if (kill_it && poll(&p, 1, EXIT_MS) <= 0)
        kill(-fs->pid, SIGKILL);
    while (waitid(P_PID, (id_t)fs->pid, &si, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    kill(-fs->pid, SIGKILL);
    while (waitpid(fs->pid, &fs->status, 0) < 0 && errno == EINTR)
        ;
    fs->pid = -1;
    pv_loop_del(fs->loop, &fs->exit);
    pv_close(&fs->pidfd);
    words_read(fs);
}

/* Adds ": " and its last words, if there are any. */
static void add_words(const struct pv_virtiofsd *fs, struct pv_buf *out)
{
    cleanup_buf struct pv_buf clean = {0};

    pv_text_clean(&clean, fs->words.data, fs->words.len, "  ");
    if (clean.len)
        pv_buf_addf(out, ": %s", clean.data);
}

static void on_words(struct pv_watch *w, uint32_t events)
{
    (void)events;
    words_read(PV_CONTAINER_OF(w, struct pv_virtiofsd, output));
}

static void on_exit_watch(struct pv_watch *w, uint32_t events)
{
    struct pv_virtiofsd *fs = PV_CONTAINER_OF(w, struct pv_virtiofsd, exit);
    cleanup_buf struct pv_buf why = {0};
    char text[64];
    int pid = (int)fs->pid;

    (void)events;
    process_reap(fs, false);
    pv_buf_addf(&why, "%s (pid %d), which gives the guest the host's directory '%s', ended: %s", fs->program,
                pid, fs->dir, pv_wait_status_text(fs->status, text));
    add_words(fs, &why);
    pv_debug("vm", "%s", why.data);
    if (fs->on_end)
        fs->on_end(why.data, fs->arg);
}

void pv_virtiofsd_free(struct pv_virtiofsd *fs)
{
    if (!fs)
        return;
    process_reap(fs, true);
    output_close(fs);
    pv_close(&fs->qemu_fd);
    pv_buf_free(&fs->words);
    free(fs->program);
    free(fs->dir);
    free(fs);
}

int pv_virtiofsd_fd(const struct pv_virtiofsd *fs)
{
    return fs->qemu_fd;
}

void pv_virtiofsd_close_fd(struct pv_virtiofsd *fs)
{
    pv_close(&fs->qemu_fd);
}

uint64_t pv_virtiofsd_files(const struct pv_virtiofsd *fs)
{
    struct rlimit l;

    return prlimit(fs->pid, RLIMIT_NOFILE, NULL, &l) == 0 ? l.rlim_cur : 0;
}

void pv_virtiofsd_on_end(struct pv_virtiofsd *fs, void (*fn)(const char *why, void *arg), void *arg)
{
    fs->on_end = fn;
    fs->arg = arg;
}

/* ---- the start ---- */

static int spawn(struct pv_virtiofsd *fs, const struct pv_virtiofsd_program *p,
                 const struct pv_vm_share *share, const struct pv_virtiofsd_view *v, struct pv_err *err)
{
    cleanup_strv struct pv_strv argv = {0}, env = {0};
    cleanup_close int listener = -1, to = -1, ruleset = v->place ? -1 : pv_confine_share(share, p->path);
    struct pv_spawn_fd fds[3] = {{.to = 2}, {.to = LISTEN_FD}, {ruleset, RULESET_FD}};
    struct pv_spawn sp = {.file = p->path,
                          .fds = fds,
                          .n_fds = ruleset < 0 ? 2 : 3,
                          .no_core = true,
                          .ruleset = ruleset < 0 ? 0 : RULESET_FD,
                          .prepare = pv_virtiofsd_enter,
                          .prepare_arg = v};
    int ends[2];

    pv_strv_add(&argv, p->path);
    if (p->rust)
        args_of_rust(p, v, &argv);
    else
        args_of_c(v, &argv);
    pv_confine_env(&env);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return pv_err_sys(err, errno, "cannot make a pipe");
    fs->words_fd = ends[0];
    fds[0].from = to = ends[1];
    if (pv_sock_listen_private(pv_temp_dir(), &listener, &fs->qemu_fd) < 0)
        return pv_err_sys(err, errno, "cannot make a socket in '%s'", pv_temp_dir());
    fds[1].from = listener;
    sp.argv = argv.v;
    sp.envp = env.v;
    if (pv_set_nonblocking(fs->words_fd) < 0)
        return pv_err_sys(err, errno, "cannot make a pipe non-blocking");
    fs->pid = pv_spawn(&sp, &fs->pidfd, err);
    return fs->pid < 0 ? -1 : 0;
}

/*
 * Asks for the features of the device, as QEMU will again: a reply shows that the daemon is in its sandbox and serves.
 * False at the deadline, or when it has ended.
 */
static bool await_service(struct pv_virtiofsd *fs, int64_t deadline)
{
    const uint32_t ask[3] = {1 /* VHOST_USER_GET_FEATURES */, 1 /* version */, 0 /* bytes of payload */};
    char reply[sizeof(ask) + sizeof(uint64_t)];
    size_t got = 0;

    if (pv_send(fs->qemu_fd, ask, sizeof(ask), 0) != (ssize_t)sizeof(ask))
        return false;
    while (got < sizeof(reply)) {
        struct pollfd p[2] = {{.fd = fs->qemu_fd, .events = POLLIN}, {.fd = fs->pidfd, .events = POLLIN}};
        int64_t ms = (deadline - pv_now()) / PV_NSEC_PER_MSEC;
        int r = ms > 0 ? poll(p, 2, (int)ms) : 0;
        ssize_t n;

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return false;
        n = pv_recv(fs->qemu_fd, reply + got, sizeof(reply) - got);
        if (n > 0)
            got += (size_t)n;
        else if (n == 0 || errno != EAGAIN || p[1].revents)
            return false;
    }
    return !memcmp(reply, ask, sizeof(ask[0]));
}

/* One try to start it with this view of the host. */
static struct pv_virtiofsd *start(struct pv_loop *loop, const struct pv_virtiofsd_program *p,
                                  const struct pv_vm_share *share, const struct pv_virtiofsd_view *v,
                                  struct pv_err *err)
{
    struct pv_virtiofsd *fs = pv_xcalloc(1, sizeof(*fs));
    cleanup_buf struct pv_buf words = {0};

    *fs = (struct pv_virtiofsd){.loop = loop, .pid = -1, .pidfd = -1, .qemu_fd = -1, .words_fd = -1};
    fs->exit = (struct pv_watch){.fd = -1, .fn = on_exit_watch};
    fs->output = (struct pv_watch){.fd = -1, .fn = on_words};
    fs->program = pv_xstrdup(p->path);
    fs->dir = pv_xstrdup(share->dir);
    if (spawn(fs, p, share, v, err) < 0) {
        words_read(fs);
    } else if (!await_service(fs, pv_deadline(START_SECONDS * PV_NSEC_PER_SEC))) {
        process_reap(fs, true);
        pv_err_set(err, PV_E_HOST, "%s does not serve '%s'", p->path, share->dir);
    } else if (pv_loop_add(loop, &fs->exit, fs->pidfd, EPOLLIN, err) == 0 &&
               pv_loop_add(loop, &fs->output, fs->words_fd, EPOLLIN, err) == 0) {
        return fs;
    }
    add_words(fs, &words);
    pv_err_append(err, "%s", words.data ? words.data : "");
    pv_virtiofsd_free(fs);
    return NULL;
}

struct pv_virtiofsd *pv_virtiofsd_start(struct pv_loop *loop, const struct pv_virtiofsd_program *p,
                                        const struct pv_vm_share *share, struct pv_err *err)
{
    struct pv_virtiofsd_view v = {.dir = share->dir, .writable = share->writable};
    struct pv_err why = PV_ERR_INIT;

    v.place = geteuid() == 0 ? pv_virtiofsd_place(p->path) : NULL;
    if (v.place) {
        struct pv_virtiofsd *fs = start(loop, p, share, &v, &why);

        if (fs)
            return fs;
        pv_debug("vm", "no view of its own: %s", why.text);
    }
    if (p->rust && (share->writable || p->read_only)) {
        v.place = NULL;
        return start(loop, p, share, &v, err);
    }
    if (why.cls == PV_E_NONE)
        pv_err_set(&why, PV_E_HOST,
                   "%s has no --readonly, and without root nothing else keeps it from writing", p->path);
    if (err)
        *err = why;
    return NULL;
}

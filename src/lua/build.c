/* SPDX-License-Identifier: MIT */
/*
 * Two processes and a SOCK_SEQPACKET between them.  A message is its kind, the class of a failure, and text;
 * the last one tells how the build went, and a builder that ends without it has died.
 *
 * The builder keeps standard output, the supervisor's socket (notices and logs) and this socket; every other
 * descriptor of its parent is closed before anything else is done.  What the parent's Lua state and guests
 * hold in memory is left as it is, untouched, until the process ends by _exit.
 */
#include "lua/build.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/snapshot.h"
#include "lua/store.h"
#include "lua/vm.h"
#include "childproto/lease.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"
#include "util/spawn.h"

enum { TEXT_MAX = 60000, TAIL_LINES = 20 };

enum kind {
    KIND_PHASE = 'P',
    KIND_LOGS = 'L',
    KIND_TAIL = 'C',
    KIND_DONE = 'D',
    KIND_FAILED = 'F',
    KIND_MOVED = 'M',
    KIND_SKIP = 'S',
    KIND_TODO = 'T'
};

/* ---- the builder ---- */

/* name: in front of text and a NUL, or NULL. The one who asked may be gone; then so are we, soon. */
static void say(const struct lua_build *b, enum kind kind, enum pv_class cls, const char *name,
                const char *text)
{
    cleanup_buf struct pv_buf msg = {0};

    pv_buf_addc(&msg, (char)kind);
    pv_buf_addc(&msg, (char)cls);
    if (name)
        pv_buf_add(&msg, name, strlen(name) + 1);
    pv_buf_add(&msg, text, strnlen(text, TEXT_MAX));
    while (send(b->sock, msg.data, msg.len, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

void pv_lua_build_phase(struct lua_build *b, const char *what)
{
    say(b, KIND_PHASE, PV_CLASS_NONE, NULL, what);
}

static void say_tails(struct pv_lua *pl)
{
    for (struct lua_guest *g = pl->guests; g; g = g->next) {
        cleanup_buf struct pv_buf tail = {0};

        if (g->w)
            continue;
        pv_guest_console_tail(g->g, TAIL_LINES, &tail);
        if (tail.len)
            say(pl->build, KIND_TAIL, PV_CLASS_NONE, g->name, tail.data);
    }
}

void pv_lua_build_exit(struct pv_lua *pl, const char *msg)
{
    say_tails(pl);
    say(pl->build, KIND_FAILED, PV_CLASS_LUA, NULL, msg);
    pv_lua_kill_guests(pl);
    fflush(stdout);
    _exit(1);
}

/* Closes every descriptor but 0, 1, 2 and these. */
static void close_others(const int *keep, size_t n)
{
    unsigned from = 3;

    for (;;) {
        unsigned next = ~0U;

        for (size_t i = 0; i < n; i++)
            if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
                next = (unsigned)keep[i];
        if (next > from)
            syscall(SYS_close_range, from, next - 1, 0);
        if (next == ~0U)
            return;
        from = next + 1;
    }
}

/* The machine to keep: what the script returned (results from index 1 on), else the only one that runs. */
static struct lua_guest *choose(lua_State *L, struct pv_lua *pl, struct pv_err *err)
{
    struct lua_guest *found = NULL;
    cleanup_buf struct pv_buf names = {0};
    unsigned n = 0;

    if (!lua_isnoneornil(L, 1)) {
        struct lua_guest *g = pv_lua_guest_at(L, 1);

        if (!g || g->w)
            pv_err_set(err, PV_E_USAGE, "the script returned a %s; a fixture returns its VM, or nothing",
                       g ? "worker" : luaL_typename(L, 1));
        else if (pv_lua_guest_state(g) != PV_GUEST_RUNNING)
            pv_err_set(err, PV_E_USAGE, "the script returned %s, which is %s; a fixture's VM must be running",
                       g->name, pv_guest_state_name(pv_lua_guest_state(g)));
        else
            return g;
        return NULL;
    }
    for (struct lua_guest *g = pl->guests; g; g = g->next) {
        if (g->w || pv_lua_guest_state(g) != PV_GUEST_RUNNING)
            continue;
        pv_buf_addf(&names, "%s%s", n++ ? ", " : "", g->name);
        found = g;
    }
    if (n == 1)
        return found;
    if (n)
        pv_err_set(err, PV_E_USAGE,
                   "the script ended with %u VMs running (%s); let it return the one that is the fixture", n,
                   names.data);
    else
        pv_err_set(err, PV_E_USAGE, "the script ended without a running VM");
    return NULL;
}

/* Freezes the machine and puts it into the store; 1: an input changed, see pv_lua_store_commit. */
static int keep_machine(lua_State *L, struct pv_lua *pl, int64_t deadline, char **moved, struct pv_err *err)
{
    struct lua_guest *g = choose(L, pl, err);
    struct pv_snapshot *s;
    int64_t left = deadline - pv_now();
    int r;

    if (!g)
        return -1;
    pv_lua_phase(pl, "saving the machine");
    s = pv_guest_freeze(g->g, left > 0 ? left : 1, err);
    if (!s)
        return -1;
    pv_lua_kill_guests(pl);
    fflush(NULL); /* what the script wrote on the host may be read by the next one */
    r = pv_lua_store_commit(pl, s, moved, err);
    pv_snapshot_unref(s);
    return r;
}

/* A guest's kernel complained, and nobody had said that it may: the fixture is not what it seems. */
static bool broken_kernel(struct pv_lua *pl, enum pv_class *cls, char **why)
{
    enum pv_outcome outcome = PV_OK;

    pv_lua_settle_findings(pl);
    pv_lua_judge_findings(pl, PV_NO_TEST, &outcome, cls, why);
    return outcome == PV_FAIL;
}

static void run_script(struct pv_lua *pl, int64_t deadline)
{
    struct lua_build *b = pl->build;
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *text = NULL;
    lua_State *L = pv_lua_open(pl, &err);
    enum pv_class cls = PV_CLASS_NONE;
    int r;

    if (!L || pv_lua_store_begin(pl, &err) < 0) {
        say(b, KIND_FAILED, PV_CLASS_HARNESS, NULL, err.text);
        return;
    }
    if (!pv_lua_run(L, pl, LUA_MULTRET)) {
        say_tails(pl);
        say(b, KIND_FAILED, pl->error_cls, NULL,
            lua_tostring(L, -1) ? lua_tostring(L, -1) : "error without a message");
    } else if (pl->outcome != PV_OK) {
        say(b, pl->outcome == PV_TODO ? KIND_TODO : KIND_SKIP, PV_CLASS_NONE, NULL,
            pl->reason ? pl->reason : "");
    } else if (broken_kernel(pl, &cls, &text)) {
        say_tails(pl);
        say(b, KIND_FAILED, cls, NULL, text);
    } else if ((r = keep_machine(L, pl, deadline, &text, &err)) < 0) {
        say_tails(pl);
        say(b, KIND_FAILED, pv_lua_err_class(&err), NULL, err.text);
    } else if (r > 0) {
        say(b, KIND_MOVED, PV_CLASS_HARNESS, NULL, text);
    } else {
        say(b, KIND_DONE, PV_CLASS_NONE, NULL, "");
    }
    pv_lua_close(pl, L);
}

/* LOGS/fixture-NAME, NAME reduced to what needs no quoting; a directory of its own for each build. */
static char *make_log_dir(const char *logs, const char *name)
{
    cleanup_free char *leaf = pv_xasprintf("fixture-%.100s", name);

    for (char *c = leaf; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *c))
            *c = '_';
    for (unsigned i = 1; logs && i <= 1000; i++) {
        char *dir = i == 1 ? pv_xasprintf("%s/%s", logs, leaf) : pv_xasprintf("%s/%s-%u", logs, leaf, i);

        if (mkdir(dir, 0700) == 0)
            return dir;
        free(dir);
        if (errno != EEXIST)
            break;
    }
    return NULL;
}

/* As people call it: below the working directory without that. */
static char *shown_path(const char *script)
{
    cleanup_free char *cwd = getcwd(NULL, 0);
    size_t n = cwd ? strlen(cwd) : 0;

    return pv_xstrdup(n > 1 && !strncmp(script, cwd, n) && script[n] == '/' ? script + n + 1 : script);
}

/* lease: what it takes of the pool counts as the file's; NULL: there is no pool. */
static _Noreturn void builder_main(struct pv_lua *outer, const struct builder_opts *o, int sock,
                                   struct pv_lease *lease, pid_t parent)
{
    const int keep[] = {sock, pv_result_fd(outer->env->result), lease ? pv_lease_fd(lease) : -1};
    const char *logs = outer->build ? outer->build->logs : outer->env->log_dir;
    struct lua_build build = {
        .name = o->name, .script = o->script, .outer = outer->build, .logs = logs, .sock = sock};
    struct pv_lua_env env = *outer->env;
    cleanup_free char *path = shown_path(o->script);
    struct pv_lua pl = {.env = &env, .path = path, .dir = pv_path_dirname(path), .build = &build};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    signal(SIGTERM, SIG_DFL);
    close_others(keep, PV_ARRAY_LEN(keep));
    env.result = pv_result_new(keep[1]); /* its own count of tests and steps, of which it tells none */
    env.lease = lease;
    env.log_dir = make_log_dir(logs, o->name);
    if (env.log_dir)
        say(&build, KIND_LOGS, PV_CLASS_NONE, NULL, env.log_dir);
    run_script(&pl, o->deadline);
    fflush(stdout);
    _exit(0);
}

/* ---- the one who asks ---- */

static void set_text(char **to, const char *text, size_t n)
{
    free(*to);
    *to = pv_xstrndup(text, n);
}

static void add_tail(struct lua_builder *b, const char *vm, size_t vm_n, const char *text, size_t n)
{
    struct builder_tail *t, **end = &b->tails;

    while (*end)
        end = &(*end)->next;
    t = *end = pv_xcalloc(1, sizeof(*t));
    t->vm = pv_xasprintf("%.*s of fixture %s", (int)vm_n, vm, b->name);
    t->text = pv_xstrndup(text, n);
}

static void take_message(struct lua_builder *b, const char *msg, size_t n)
{
    if (n < 2)
        return;
    switch ((enum kind)msg[0]) {
    case KIND_PHASE:
        set_text(&b->phase, msg + 2, n - 2);
        if (b->on_phase)
            b->on_phase(b->phase, b->arg);
        return;
    case KIND_LOGS:
        set_text(&b->log_dir, msg + 2, n - 2);
        return;
    case KIND_TAIL:
        if (strnlen(msg + 2, n - 2) < n - 2)
            add_tail(b, msg + 2, strlen(msg + 2), msg + 2 + strlen(msg + 2) + 1, n - 2 - strlen(msg + 2) - 1);
        return;
    case KIND_DONE:
        b->outcome = BUILDER_DONE;
        break;
    case KIND_FAILED:
        b->outcome = BUILDER_FAILED;
        break;
    case KIND_MOVED:
        b->outcome = BUILDER_MOVED;
        break;
    case KIND_SKIP:
        b->outcome = BUILDER_SKIPPED;
        break;
    case KIND_TODO:
        b->outcome = BUILDER_TODO;
        break;
    default:
        return;
    }
    b->cls = (unsigned char)msg[1] < PV_CLASS_COUNT ? (enum pv_class)msg[1] : PV_CLASS_HARNESS;
    set_text(&b->text, msg + 2, n - 2);
}

static void drain(struct lua_builder *b)
{
    char msg[TEXT_MAX + 4096];

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
        take_message(b, msg, (size_t)n);
    }
}

static void on_sock(struct pv_watch *w, uint32_t events)
{
    (void)events;
    drain(PV_CONTAINER_OF(w, struct lua_builder, sock_watch));
}

/*
 * Only the end of the process ends the build: with it everything that it held is free again, its VMs and
 * their memory too.
 */
static void on_exit_of_builder(struct pv_watch *w, uint32_t events)
{
    struct lua_builder *b = PV_CONTAINER_OF(w, struct lua_builder, proc_watch);
    char how[64];
    int status = 0;

    (void)events;
    while (waitpid(b->pid, &status, 0) < 0 && errno == EINTR)
        ;
    b->pid = 0;
    pv_loop_del(b->loop, &b->proc_watch);
    pv_close(&b->pidfd);
    drain(b);
    if (b->outcome != BUILDER_RUNNING)
        return;
    b->outcome = BUILDER_DIED;
    b->cls = PV_CLASS_HARNESS;
    pv_wait_status_text(status, how);
    set_text(&b->text, how, strlen(how));
}

int pv_lua_builder_start(struct lua_builder *b, struct pv_lua *pl, const struct builder_opts *o,
                         struct pv_err *err)
{
    int sv[2], e;
    struct pv_lease *lease = NULL;
    pid_t parent = getpid();

    b->loop = pl->loop;
    b->name = o->name;
    b->pidfd = b->sock = -1;
    b->proc_watch = (struct pv_watch){.fd = -1, .fn = on_exit_of_builder};
    b->sock_watch = (struct pv_watch){.fd = -1, .fn = on_sock};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
        return pv_err_sys(err, errno, "cannot make a socket pair");
    if (pl->env->lease && !(lease = pv_lease_fork(pl->env->lease, err))) {
        close(sv[0]);
        close(sv[1]);
        return -1;
    }
    fflush(NULL);
    b->pid = fork();
    if (b->pid == 0)
        builder_main(pl, o, sv[1], lease, parent);
    e = errno;
    pv_lease_free(lease); /* the builder's copy stays */
    close(sv[1]);
    b->sock = sv[0];
    if (b->pid < 0) {
        b->pid = 0;
        pv_lua_builder_end(b);
        return pv_err_sys(err, e, "cannot fork");
    }
    b->pidfd = (int)syscall(SYS_pidfd_open, b->pid, 0);
    e = errno;
    if (b->pidfd < 0) {
        pv_lua_builder_end(b);
        return pv_err_sys(err, e, "cannot open a pidfd (Linux 5.3 or newer is needed)");
    }
    if (pv_loop_add(b->loop, &b->proc_watch, b->pidfd, EPOLLIN, err) < 0 ||
        pv_loop_add(b->loop, &b->sock_watch, b->sock, EPOLLIN, err) < 0) {
        pv_lua_builder_end(b);
        return -1;
    }
    return 0;
}

/* The last lines of a console log, whose own process can not say them any more. */
static void tail_of_log(struct lua_builder *b, const char *leaf)
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
        if (buf[from - 1] == '\n' && ++lines == TAIL_LINES)
            break;
    if (end > from)
        add_tail(b, leaf, strcspn(leaf, "-."), buf + from, end - from);
}

void pv_lua_builder_kill(struct lua_builder *b)
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
    drain(b);
    dir = b->log_dir && !b->tails ? opendir(b->log_dir) : NULL;
    while (dir && (e = readdir(dir)))
        tail_of_log(b, e->d_name);
    if (dir)
        closedir(dir);
}

void pv_lua_builder_end(struct lua_builder *b)
{
    if (!b->loop)
        return;
    if (b->pid > 0)
        pv_lua_builder_kill(b);
    pv_loop_del(b->loop, &b->proc_watch);
    pv_loop_del(b->loop, &b->sock_watch);
    pv_close(&b->pidfd);
    pv_close(&b->sock);
    while (b->tails) {
        struct builder_tail *t = b->tails;

        b->tails = t->next;
        free(t->vm);
        free(t->text);
        free(t);
    }
    free(b->text);
    free(b->phase);
    free(b->log_dir);
    *b = (struct lua_builder){0};
}

/* SPDX-License-Identifier: MIT */
/*
 * os.execute and io.popen as Lua has them, but for two things.  While they wait, for a command's end, its output or room for
 * its input, the loop runs: a command may well talk to a VM, through a forwarded port say.  And commands start with the
 * descriptor limit that this run was started with: the file process has raised its own (testfile.c), and programs that
 * close or poll all numbers up to the limit become slow, or fail.
 *
 * Commands are no pv_spawn: they share the terminal, the process group and the standard streams, as those of Lua do.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "lua/modules.h"
#include "lua/options.h"
#include "lua/provium.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/sock.h"

/* ---- waits ---- */

struct fd_wait {
    struct pv_watch watch;
    bool ready;
};

static void fd_ready(struct pv_watch *w, uint32_t events)
{
    (void)events;
    PV_CONTAINER_OF(w, struct fd_wait, watch)->ready = true;
}

static bool wait_is_over(void *arg)
{
    return ((const struct fd_wait *)arg)->ready;
}

/* loop NULL: it does not run.  -1 with errno: the task was cancelled. */
static int fd_await(struct pv_loop *loop, int fd, short events)
{
    struct fd_wait wait = {.watch = {.fd = -1, .fn = fd_ready}};
    struct pollfd p = {.fd = fd, .events = events};
    int r;

    if (!loop || pv_loop_add(loop, &wait.watch, fd, events == POLLIN ? EPOLLIN : EPOLLOUT, NULL) < 0)
        return poll(&p, 1, -1) < 0 && errno != EINTR ? -1 : 0;
    r = pv_loop_run(loop, wait_is_over, &wait, PV_FOREVER, NULL);
    pv_loop_del(loop, &wait.watch);
    if (r < 0)
        errno = ECANCELED;
    return r;
}

/* The status of waitpid; reaps.  A task that is cancelled waits without the loop. */
static int child_await(struct pv_loop *loop, pid_t pid)
{
    cleanup_close int pidfd = loop ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    int status = -1;

    if (pidfd >= 0)
        fd_await(loop, pidfd, POLLIN);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    errno = 0; /* else luaL_execresult takes the status for an error */
    return status;
}

/* ---- commands ---- */

/* -1 with errno.  own: the end of a pipe that becomes `to`; -1: none. */
static pid_t command_start(const struct rlimit *own_files, const char *command, int own, int to)
{
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, NULL, NULL};
    cleanup_free char *copy = pv_xstrdup(command);
    posix_spawn_file_actions_t actions;
    struct rlimit raised;
    bool lowered;
    pid_t pid;
    int rc;

    argv[2] = copy;
    posix_spawn_file_actions_init(&actions);
    if (own >= 0)
        posix_spawn_file_actions_adddup2(&actions, own, to);
    lowered = own_files->rlim_cur > 0 && getrlimit(RLIMIT_NOFILE, &raised) == 0 &&
              own_files->rlim_cur < raised.rlim_cur &&
              setrlimit(RLIMIT_NOFILE, &(struct rlimit){own_files->rlim_cur, raised.rlim_max}) == 0;
    rc = posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ);
    if (lowered)
        setrlimit(RLIMIT_NOFILE, &raised);
    posix_spawn_file_actions_destroy(&actions);
    errno = rc;
    return rc ? -1 : pid;
}

/* os.execute(command?) */
static int os_execute(lua_State *L)
{
    const char *command = luaL_optstring(L, 1, NULL);
    struct pv_testfile *tf = pv_lua_tf(L);
    pid_t pid;

    if (!command) {
        lua_pushboolean(L, access("/bin/sh", X_OK) == 0);
        return 1;
    }
    pid = command_start(&tf->own_files, command, -1, -1);
    return luaL_execresult(L, pid < 0 ? -1 : child_await(tf->loop, pid));
}

/* ---- pipes ---- */

/* A stream of io.popen; a FILE of Lua's library reads and writes it. */
struct command_pipe {
    struct command_pipe *next;
    struct pv_loop *loop; /* NULL: waits block, within a finalizer */
    FILE *file;
    pid_t pid;
    int fd;
    bool busy; /* a task is within read or write */
};

static struct command_pipe *pipes;

static ssize_t pipe_read(void *cookie, char *to, size_t n)
{
    struct command_pipe *p = cookie;
    ssize_t r;

    if (p->busy) {
        errno = EBUSY;
        return -1;
    }
    p->busy = true;
    while ((r = read(p->fd, to, n)) < 0 && (errno == EINTR || errno == EAGAIN))
        if (errno == EAGAIN && fd_await(p->loop, p->fd, POLLIN) < 0)
            break;
    p->busy = false;
    return r;
}

static ssize_t pipe_write(void *cookie, const char *from, size_t n)
{
    struct command_pipe *p = cookie;
    size_t done = 0;

    if (p->busy) {
        errno = EBUSY;
        return 0;
    }
    p->busy = true;
    while (done < n) {
        ssize_t r = write(p->fd, from + done, n - done);

        if (r > 0)
            done += (size_t)r;
        else if (errno != EINTR && (errno != EAGAIN || fd_await(p->loop, p->fd, POLLOUT) < 0))
            break;
    }
    p->busy = false;
    return (ssize_t)done;
}

static int pipe_close(void *cookie)
{
    struct command_pipe *p = cookie;

    pv_close(&p->fd);
    return 0;
}

/* file:close() of a stream of io.popen, and its finalizer, in which no other task may run. */
static int popen_close(lua_State *L)
{
    FILE *file = ((luaL_Stream *)luaL_checkudata(L, 1, LUA_FILEHANDLE))->f;
    struct command_pipe **at = &pipes, *p;
    int status;

    while ((*at)->file != file)
        at = &(*at)->next;
    p = *at;
    if (p->busy) {
        errno = EBUSY;
        return luaL_fileresult(L, 0, "another task uses the stream");
    }
    *at = p->next;
    p->loop = lua_gc(L, LUA_GCISRUNNING) ? p->loop : NULL;
    fclose(file);
    status = child_await(p->loop, p->pid);
    free(p);
    return luaL_execresult(L, status);
}

static bool pipes_are_idle(void)
{
    const struct command_pipe *p = pipes;

    while (p && !p->busy)
        p = p->next;
    return !p;
}

/* io.popen(command, mode?) */
static int io_popen(lua_State *L)
{
    static const cookie_io_functions_t calls = {.read = pipe_read, .write = pipe_write, .close = pipe_close};
    const char *command = luaL_checkstring(L, 1), *mode = luaL_optstring(L, 2, "r");
    bool reads = mode[0] == 'r';
    struct command_pipe *p;
    luaL_Stream *s;
    int fds[2];
    pid_t pid;

    luaL_argcheck(L, (*mode == 'r' || *mode == 'w') && !mode[1], 2, "invalid mode");
    s = lua_newuserdatauv(L, sizeof(*s), 0);
    *s = (luaL_Stream){.f = NULL};
    luaL_setmetatable(L, LUA_FILEHANDLE);
    if (pipes_are_idle())
        fflush(NULL); /* the command sees what was written to files; as in Lua */
    if (pipe2(fds, O_CLOEXEC) < 0)
        return luaL_fileresult(L, 0, command);
    pid = command_start(&pv_lua_tf(L)->own_files, command, fds[reads ? 1 : 0], reads ? 1 : 0);
    pv_close(&fds[reads ? 1 : 0]);
    if (pid < 0) {
        pv_close(&fds[reads ? 0 : 1]);
        return luaL_fileresult(L, 0, command);
    }
    p = pv_xcalloc(1, sizeof(*p));
    *p = (struct command_pipe){
        .next = pipes, .loop = pv_lua_tf(L)->loop, .pid = pid, .fd = fds[reads ? 0 : 1]};
    pv_set_nonblocking(p->fd);
    p->file = s->f = fopencookie(p, reads ? "r" : "w", calls);
    s->closef = popen_close;
    pipes = p;
    return 1;
}

void pv_lua_open_host_command(lua_State *L)
{
    static const struct {
        const char *library, *name;
        lua_CFunction fn;
    } starting[] = {{"os", "execute", os_execute}, {"io", "popen", io_popen}};

    for (size_t i = 0; i < PV_ARRAY_LEN(starting); i++) {
        lua_getglobal(L, starting[i].library);
        lua_pushcfunction(L, starting[i].fn);
        lua_setfield(L, -2, starting[i].name);
        lua_pop(L, 1);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the program, it lets the n-th call of one function fail, counted over all processes of a run:
 *
 *     FAIL_NTH=FUNCTION:N:ERRNO:FILE    FILE: struct shared, as zeros; N 0: no call fails, all are counted
 *
 * Only the program itself is disturbed: QEMU and other programs are not.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* The headers' parameters have reserved names, and a parameter list is no expression. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name,bugprone-macro-parentheses) */

/* Functions whose failure is -1 and that take a fixed number of arguments: NAME, type, parameters, arguments. */
#define PLAIN(X) \
    X(socketpair, int, (int d, int t, int p, int sv[2]), (d, t, p, sv)) \
    X(memfd_create, int, (const char *name, unsigned flags), (name, flags)) \
    X(epoll_create1, int, (int flags), (flags)) \
    X(epoll_ctl, int, (int e, int op, int fd, struct epoll_event *ev), (e, op, fd, ev)) \
    X(epoll_wait, int, (int e, struct epoll_event *ev, int n, int ms), (e, ev, n, ms)) \
    X(poll, int, (struct pollfd * p, nfds_t n, int ms), (p, n, ms)) \
    X(dup2, int, (int a, int b), (a, b)) \
    X(dup3, int, (int a, int b, int flags), (a, b, flags)) \
    X(pipe2, int, (int fds[2], int flags), (fds, flags)) \
    X(eventfd, int, (unsigned n, int flags), (n, flags)) \
    X(signalfd, int, (int fd, const sigset_t *mask, int flags), (fd, mask, flags)) \
    X(fork, pid_t, (void), ()) \
    X(waitpid, pid_t, (pid_t pid, int *status, int options), (pid, status, options)) \
    X(ftruncate, int, (int fd, off_t n), (fd, n)) \
    X(fallocate, int, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n)) \
    X(lseek, off_t, (int fd, off_t at, int whence), (fd, at, whence)) \
    X(read, ssize_t, (int fd, void *p, size_t n), (fd, p, n)) \
    X(pread, ssize_t, (int fd, void *p, size_t n, off_t at), (fd, p, n, at)) \
    X(write, ssize_t, (int fd, const void *p, size_t n), (fd, p, n)) \
    X(pwrite, ssize_t, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at)) \
    X(recv, ssize_t, (int fd, void *p, size_t n, int flags), (fd, p, n, flags)) \
    X(recvmsg, ssize_t, (int fd, struct msghdr *m, int flags), (fd, m, flags)) \
    X(send, ssize_t, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags)) \
    X(sendmsg, ssize_t, (int fd, const struct msghdr *m, int flags), (fd, m, flags)) \
    X(mkdir, int, (const char *path, mode_t mode), (path, mode)) \
    X(mkdirat, int, (int dir, const char *path, mode_t mode), (dir, path, mode)) \
    X(rename, int, (const char *from, const char *to), (from, to)) \
    X(renameat, int, (int a, const char *from, int b, const char *to), (a, from, b, to)) \
    X(linkat, int, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags)) \
    X(fstat, int, (int fd, struct stat *st), (fd, st)) \
    X(fsync, int, (int fd), (fd)) \
    X(fflush, int, (FILE * f), (f)) \
    X(fclose, int, (FILE * f), (f)) \
    X(flock, int, (int fd, int op), (fd, op))

#define OTHERS(X) \
    X(open) \
    X(openat) \
    X(fcntl) \
    X(mmap) \
    X(pidfd_open) \
    X(landlock_create_ruleset) X(landlock_add_rule) X(landlock_restrict_self) X(malloc) X(calloc) X(realloc)

enum function {
#define ID(name, ...) ID_##name,
    PLAIN(ID) OTHERS(ID) FUNCTIONS
};

static const char *const names[] = {
#define NAME(name, ...) #name,
    PLAIN(NAME) OTHERS(NAME)};

/* The processes of a run share it; tests/fail-nth/sweep.py reads it. */
struct shared {
    atomic_uint failed;
    struct {
        char name[28];
        atomic_uint calls;
    } rows[FUNCTIONS];
};

static struct {
    unsigned function, n;
    int error;
    char trace[256];
    struct shared *shared; /* NULL: this is another program */
} plan;

static __attribute__((constructor)) void plan_read(void)
{
    const char *text = getenv("FAIL_NTH");
    char name[32], path[200];
    void *p;
    int fd;

    if (!text || strcmp(program_invocation_short_name, "provium") != 0 ||
        sscanf(text, "%31[^:]:%u:%d:%199s", name, &plan.n, &plan.error, path) != 4)
        return;
    fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    p = (void *)syscall(SYS_mmap, (void *)NULL, sizeof(*plan.shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                        0);
    syscall(SYS_close, fd);
    if (p == MAP_FAILED)
        _exit(99);
    snprintf(plan.trace, sizeof(plan.trace), "%s.trace", path);
    plan.shared = p;
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        strcpy(plan.shared->rows[i].name, names[i]);
        if (!strcmp(names[i], name))
            plan.function = i;
    }
}

/* The place of the failure, for people. */
static void trace_write(void)
{
    void *frames[40];
    int n = backtrace(frames, 40), fd;

    fd = (int)syscall(SYS_openat, AT_FDCWD, plan.trace, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    backtrace_symbols_fd(frames, n, fd);
    syscall(SYS_close, fd);
}

static int call_fails(enum function f)
{
    static __thread int within; /* backtrace() allocates */

    if (!plan.shared || within || atomic_fetch_add(&plan.shared->rows[f].calls, 1) + 1 != plan.n ||
        f != plan.function)
        return 0;
    within = 1;
    atomic_store(&plan.shared->failed, 1);
    trace_write();
    within = 0;
    errno = plan.error;
    return 1;
}

#define FAILS(name, type, params, args) \
    type name params \
    { \
        static type(*real) params; \
        if (!real) \
            real = (type(*) params)dlsym(RTLD_NEXT, #name); \
        return call_fails(ID_##name) ? (type)-1 : real args; \
    }
PLAIN(FAILS)

/* ---- functions with a variable number of arguments, or another failure ---- */

static mode_t mode_of(int flags, va_list ap)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = mode_of(flags, ap);
    va_end(ap);
    return call_fails(ID_open) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = mode_of(flags, ap);
    va_end(ap);
    return call_fails(ID_openat) ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, command);
    arg = va_arg(ap, void *);
    va_end(ap);
    return call_fails(ID_fcntl) ? -1 : (int)syscall(SYS_fcntl, fd, command, arg);
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    return call_fails(ID_mmap) ? MAP_FAILED : (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}

long syscall(long nr, ...)
{
    static const struct {
        long nr;
        enum function f;
    } by_number[] = {{SYS_pidfd_open, ID_pidfd_open},
                     {SYS_landlock_create_ruleset, ID_landlock_create_ruleset},
                     {SYS_landlock_add_rule, ID_landlock_add_rule},
                     {SYS_landlock_restrict_self, ID_landlock_restrict_self}};
    static long (*real)(long nr, ...);
    long a[6];
    va_list ap;

    va_start(ap, nr);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (!real)
        real = (long (*)(long nr, ...))dlsym(RTLD_NEXT, "syscall");
    for (size_t i = 0; i < sizeof(by_number) / sizeof(by_number[0]); i++)
        if (by_number[i].nr == nr && call_fails(by_number[i].f))
            return -1;
    return real(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

extern void *__libc_malloc(size_t n), *__libc_calloc(size_t n, size_t size),
    *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    return call_fails(ID_malloc) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return call_fails(ID_calloc) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return call_fails(ID_realloc) ? NULL : __libc_realloc(p, n);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name,bugprone-macro-parentheses) */

/* SPDX-License-Identifier: MIT */
/*
 * The tracer of PID 1, see switch-root.h.  The kernel tells of a program that is being executed when the new program is
 * mapped and has run nothing.  PID 1's other threads are traced as well: one of them may execute it (init programs in
 * Go).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot.h"
#include "console.h"
#include "switch-root.h"
#include "util.h"

enum { SAY_MS = 20000, AUX_EXECFN = 31, ARGS_SEEN = 3, SYS_EXECVE = 59, CS_64 = 0x33 };

/* `syscall`, at which the program is made to begin */
#define SYSCALL_CODE 0x050fL

static void on_child(int sig)
{
    (void)sig;
}

static bool has_switched(const struct ag_boot *b)
{
    const struct ag_switch *s = b->root_switch;
    struct stat st;

    return fstatat(b->proc_fd, "1/root", &st, 0) == 0 &&
           (st.st_dev != s->root_dev || st.st_ino != s->root_ino);
}

/* ---- a program that was replaced while it began ---- */

static uint64_t peek(uint64_t at)
{
    errno = 0;
    return (uint64_t)ptrace(PTRACE_PEEKDATA, 1, at, 0);
}

static void peek_text(uint64_t at, char *dst, size_t cap)
{
    size_t n = 0;

    for (uint64_t word; n + sizeof(word) < cap; n += sizeof(word)) {
        word = peek(at + n);
        memcpy(dst + n, &word, sizeof(word));
        if (errno || memchr(&word, '\0', sizeof(word)))
            break;
    }
    dst[n + sizeof(uint64_t) < cap ? n + sizeof(uint64_t) : cap - 1] = '\0';
}

/* The address of the path that was executed, as its auxiliary vector has it; 0: unknown.  *argv, *env: addresses. */
static uint64_t find_path(uint64_t stack, uint64_t *argv, uint64_t *env)
{
    uint64_t argc = peek(stack), aux;

    *argv = stack + 8;
    *env = aux = *argv + 8 * (argc + 1);
    while (peek(aux) && !errno)
        aux += 8;
    for (aux += 8; !errno && peek(aux); aux += 16)
        if (peek(aux) == AUX_EXECFN)
            return peek(aux + 8);
    return 0;
}

/* The program that PID 1 executes. */
struct program {
    char path[4096];
    dev_t dev; /* of the file at this path */
    ino_t ino;
    unsigned gone; /* mapped files that are not at their path */
};

static void find_program(const struct ag_boot *b, struct program *p)
{
    static char maps[65536];
    static const char gone[] = " (deleted)\n";
    struct user_regs_struct r;
    uint64_t path = 0, argv, env;
    struct stat st = {0};

    if (ptrace(PTRACE_GETREGS, 1, 0, &r) == 0 && r.cs == CS_64)
        path = find_path(r.rsp, &argv, &env);
    p->path[0] = '\0';
    if (path)
        peek_text(path, p->path, sizeof(p->path));
    if (stat(p->path, &st) < 0)
        st.st_ino = 0;
    p->dev = st.st_dev;
    p->ino = st.st_ino;
    p->gone = 0;
    if (ag_read_text(b->proc_fd, "1/maps", maps, sizeof(maps)) < 0)
        return;
    for (const char *m = maps; (m = strstr(m, gone)) != NULL; m += sizeof(gone) - 1)
        p->gone++;
}

static bool is_replaced(const struct program *before, const struct program *now)
{
    return now->gone > before->gone || now->dev != before->dev || now->ino != before->ino;
}

/*
 * The registers of execve() with the arguments of this one, which lie on the stack.  A script's arguments begin with the
 * interpreter and perhaps an option, which the kernel puts in front of the path: what is there now may be no script.
 */
static void set_execve(struct user_regs_struct *r, const char *path, bool script)
{
    uint64_t argc = peek(r->rsp), argv, env;
    char arg[4096];

    r->rdi = find_path(r->rsp, &argv, &env);
    r->rsi = argv;
    r->rdx = env;
    for (uint64_t i = 1; script && i < ARGS_SEEN && i < argc; i++) {
        peek_text(peek(argv + 8 * i), arg, sizeof(arg));
        if (strcmp(arg, path) != 0)
            continue;
        r->rsi = argv + 8 * i;
        break;
    }
    r->rax = SYS_EXECVE;
    r->orig_rax = UINT64_MAX; /* in no call */
}

/* Lets PID 1 go on to its next stop that is no signal's.  False: it is gone. */
static bool next_stop(int *status)
{
    do {
        if (ptrace(PTRACE_SYSCALL, 1, 0, 0) < 0 || waitpid(1, status, __WALL) != 1 || !WIFSTOPPED(*status))
            return false;
    } while (*status >> 16 == 0 && WSTOPSIG(*status) != (SIGTRAP | 0x80));
    return true;
}

/* PID 1 has a program mapped that an injected file has replaced: it executes it again. */
static void execute_again(const struct ag_boot *b, const char *path, bool script)
{
    struct user_regs_struct r;
    int status = 0;

    ptrace(PTRACE_SETOPTIONS, 1, 0, PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD);
    /* The execve returns first: it would set the register with the call's number. */
    if (!next_stop(&status) || ptrace(PTRACE_GETREGS, 1, 0, &r) < 0 || r.cs != CS_64)
        ag_fatal(b, "cannot start the injected init: only one of 64 bits can replace that of the new root");
    set_execve(&r, path, script);
    if (ptrace(PTRACE_POKEDATA, 1, r.rip, SYSCALL_CODE) < 0 || ptrace(PTRACE_SETREGS, 1, 0, &r) < 0)
        ag_fatal(b, "cannot start the injected '%s': %s", path, strerror(errno));
    for (int i = 0; i < 2 && next_stop(&status); i++) /* it enters execve, and executes or returns */
        if (status >> 16 == PTRACE_EVENT_EXEC)
            return;
    if (ptrace(PTRACE_GETREGS, 1, 0, &r) < 0)
        ag_fatal(b, "cannot start the injected '%s': %s", path, strerror(errno));
    ag_fatal(b, "cannot start the injected '%s': %s", path, strerror((int)-(int64_t)r.rax));
}

/* ---- stops ---- */

/* PID 1 stands still, in another root.  executes: it has not begun with its program. */
static _Noreturn void end_with_files(struct ag_boot *b, bool executes)
{
    static struct program before, now;
    struct stat exe = {0};

    ag_switch_enter(b);
    if (executes)
        find_program(b, &before);
    fstatat(b->proc_fd, "1/exe", &exe, 0);
    unsigned long was = ag_switch_fill(b);

    if (executes)
        find_program(b, &now);
    if (executes && is_replaced(&before, &now))
        execute_again(b, now.path, exe.st_dev != before.dev || exe.st_ino != before.ino);
    ag_switch_restore(b, was);
    *b->root_switch->done = true;
    ptrace(PTRACE_DETACH, 1, 0, 0);
    _exit(0);
}

static void on_stop(struct ag_boot *b, pid_t pid, int status)
{
    int event = status >> 16, sig = WSTOPSIG(status);

    if (!WIFSTOPPED(status))
        return;
    if (pid == 1 && (event == PTRACE_EVENT_EXEC || event == PTRACE_EVENT_STOP) && has_switched(b))
        end_with_files(b, event == PTRACE_EVENT_EXEC);
    if (event || sig == SIGSTOP) /* a traced init would stop, which an init does not */
        sig = 0;
    ptrace(PTRACE_CONT, pid, 0, sig);
}

static void start_tracing(struct ag_boot *b)
{
    sigset_t block;

    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_SETMASK, &block, NULL);
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = on_child}, NULL);
    if (ptrace(PTRACE_SEIZE, 1, 0, PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE) < 0)
        ag_fatal(
            b,
            "cannot trace PID 1, by which injected files get into the root that the initrd switches to: %s "
            "(the profile's key switch_root = false leaves them in the initrd alone)",
            strerror(errno));
    ag_write_all(b->root_switch->tracer_start_fd, "", 1);
    close(b->root_switch->tracer_start_fd);
}

/* At 20, 40, 80 s and so on, so that it is among the last lines of a boot that was given up. */
static void say_waiting(const struct ag_boot *b, int64_t *due, int64_t *pause)
{
    if (!b->root_switch->hold || ag_now() < *due)
        return;
    ag_say(b,
           "boot waits for the initrd to switch to its root file system; for an initrd that stays, set the "
           "profile's key switch_root = false");
    *due += *pause;
    *pause *= 2;
}

void ag_tracer_main(struct ag_boot *b)
{
    struct pollfd ask = {.fd = b->root_switch->tracer_ask_fd, .events = POLLIN};
    int64_t pause = (int64_t)SAY_MS * 1000000, due = ag_now() + pause;
    const struct timespec turn = {.tv_sec = SAY_MS / 1000};
    sigset_t none;

    sigemptyset(&none);
    start_tracing(b);
    for (;;) {
        char byte;
        int status;

        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0;)
            on_stop(b, pid, status);
        say_waiting(b, &due, &pause);
        if (ppoll(&ask, 1, b->root_switch->hold ? &turn : NULL, &none) > 0 && read(ask.fd, &byte, 1) == 1)
            ptrace(PTRACE_INTERRUPT, 1, 0, 0);
    }
}

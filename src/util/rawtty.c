/* SPDX-License-Identifier: MIT */
#include "util/rawtty.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>

#include "util/err.h"
#include "util/mem.h"

static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};

/* Signal handlers use it. */
static struct {
    volatile sig_atomic_t raw;
    int fd;
    struct termios before;
    struct sigaction actions[PV_ARRAY_LEN(crashes)];
} tty = {.fd = -1};

static void tty_restore(void)
{
    if (!tty.raw)
        return;
    tty.raw = 0;
    /* A process in the background would be stopped here, with its terminal left raw. */
    sigset_t ttou, mask;

    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, &mask);
    tcsetattr(tty.fd, TCSADRAIN, &tty.before);
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* The signal's own action follows: the handler was set for one signal only. */
static void on_crash(int sig)
{
    tty_restore();
    raise(sig);
}

static void termios_keys(struct termios *t)
{
    t->c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    t->c_cc[VMIN] = 1;
    t->c_cc[VTIME] = 0;
}

static int tty_enter(int fd, void (*change)(struct termios *t), struct pv_err *err)
{
    static bool at_exit;
    struct sigaction crash = {.sa_handler = on_crash, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
    struct termios raw;

    if (tcgetattr(fd, &tty.before) < 0)
        return pv_err_sys(err, errno, "cannot read the settings of the terminal");
    if (!at_exit)
        at_exit = atexit(tty_restore) == 0;
    for (size_t i = 0; i < PV_ARRAY_LEN(crashes); i++)
        sigaction(crashes[i], &crash, &tty.actions[i]);
    tty.fd = fd;
    raw = tty.before;
    change(&raw);
    tty.raw = 1;
    if (tcsetattr(fd, TCSADRAIN, &raw) == 0)
        return 0;
    int e = errno;

    pv_rawtty_leave();
    return pv_err_sys(err, e, "cannot set the terminal to raw mode");
}

int pv_rawtty_enter(int fd, struct pv_err *err)
{
    return tty_enter(fd, cfmakeraw, err);
}

int pv_rawtty_keys(int fd, struct pv_err *err)
{
    return tty_enter(fd, termios_keys, err);
}

void pv_rawtty_leave(void)
{
    if (!tty.raw)
        return;
    tty_restore();
    for (size_t i = 0; i < PV_ARRAY_LEN(crashes); i++)
        sigaction(crashes[i], &tty.actions[i], NULL);
}

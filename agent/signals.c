/* SPDX-License-Identifier: MIT */
#include "signals.h"

#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

void ag_signals_ignore(bool ignore)
{
    /* Sent by an init that shuts down, a terminal, a broken connection, or a file that got too large. */
    static const int sigs[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE,
                               SIGALRM, SIGTTIN, SIGTTOU, SIGTSTP, SIGPWR,  SIGXFSZ};
    struct sigaction sa = {.sa_handler = ignore ? SIG_IGN : SIG_DFL};

    for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
        sigaction(sigs[i], &sa, NULL);
    /* libc reserves 32 and 33 and refuses to set them; glibc's posix_spawn leaves them ignored. */
    for (int sig = 32; !ignore && sig < 34; sig++) {
        static const struct {
            unsigned long handler, flags, restorer, mask;
        } dfl; /* the kernel's struct sigaction: SIG_DFL is 0 */

        syscall(SYS_rt_sigaction, sig, &dfl, NULL, sizeof(dfl.mask));
    }
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
}

static volatile sig_atomic_t child_ended;

static void on_sigchld(int sig)
{
    (void)sig;
    child_ended = true;
}

bool ag_signals_children_ended(void)
{
    bool ended = child_ended;

    child_ended = false;
    return ended;
}

void ag_signals_catch_children(void)
{
    struct sigaction chld = {.sa_handler = on_sigchld, .sa_flags = SA_NOCLDSTOP};
    sigset_t block;

    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_SETMASK, &block, NULL);
    sigaction(SIGCHLD, &chld, NULL);
}

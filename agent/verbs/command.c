/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/high-fd.h"

/*
 * Makes a `str` a C string in place: moves it down by one byte, into its length field, which has been read.
 * NULL (and d bad) when it holds a NUL byte.
 */
static char *decode_str(struct pv_dec *d)
{
    size_t n;
    char *p = (char *)(uintptr_t)pv_dec_bytes(d, &n);

    if (d->bad || (n && memchr(p, '\0', n))) {
        d->bad = true;
        return NULL;
    }
    memmove(p - 1, p, n);
    p[n - 1] = '\0';
    return p - 1;
}

static uint32_t decode_list(struct pv_dec *d, char **list)
{
    uint32_t n = pv_dec_u32(d);

    if (n > PV_ARGS_MAX)
        d->bad = true;
    for (uint32_t i = 0; i < n && !d->bad; i++)
        list[i] = decode_str(d);
    list[d->bad ? 0 : n] = NULL;
    return n;
}

bool ag_command_decode(struct ag_command_args *a, struct pv_dec *d)
{
    pv_dec_str(d, a->cwd, sizeof(a->cwd));
    uint32_t argc = decode_list(d, a->argv);

    decode_list(d, a->envp);
    return pv_dec_done(d) && argc;
}

struct ag_command ag_command_of(const struct ag_session *s, const struct ag_command_args *a)
{
    return (struct ag_command){.argv = a->argv,
                               .envp = a->envp,
                               .cwd = a->cwd,
                               .stdio = {-1, -1, -1},
                               .pump = {-1, -1},
                               .sink = {-1, -1},
                               .kcov_fd = -1,
                               .proc_fd = s->w.proc_fd,
                               .life_fd = s->w.life_fd,
                               .realtime = s->w.in_guest};
}

const char *ag_command_action(const struct ag_report *r)
{
    static const char *const actions[] = {
        [AG_AT_FORK] = "fork", [AG_AT_USER] = "become user", [AG_AT_CHDIR] = "chdir", [AG_AT_EXEC] = "exec"};

    return actions[r->at];
}

int ag_command_pipe(int *ours, int *theirs, bool we_read)
{
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return -1;
    *ours = ag_high_fd(p[we_read ? 0 : 1]);
    *theirs = ag_above_stdio(p[we_read ? 1 : 0]);
    /* The command's end stays blocking: it shares that flag with every process that inherits it. */
    return fcntl(*ours, F_SETFL, O_NONBLOCK | (we_read ? O_RDONLY : O_WRONLY));
}

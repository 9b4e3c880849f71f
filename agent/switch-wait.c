/* SPDX-License-Identifier: MIT */
/* The sessions' side of switch-root.h. */
#include <poll.h>
#include <unistd.h>

#include "boot.h"
#include "console.h"
#include "switch-root.h"

enum { SETTLE_MS = 60000 };

/* A tracer that is gone, whoever killed it, has put no files into the new root. */
static _Noreturn void tracer_gone(int dev_fd)
{
    static struct ag_boot b;

    b.dev_fd = dev_fd;
    ag_fatal(&b,
             "the process that follows the initrd's switch of the root has ended, so injected files may be "
             "missing");
}

bool ag_switch_hold(const struct ag_switch *s, int peer, int dev_fd)
{
    while (s && s->hold && !*s->done) {
        struct pollfd p[2] = {{.fd = s->done_fd}, {.fd = peer, .events = POLLRDHUP}};

        if (poll(p, 2, -1) < 0) /* the host hangs up at its deadline */
            continue;
        if (p[1].revents)
            return false;
        if (p[0].revents && !*s->done)
            tracer_gone(dev_fd);
    }
    return true;
}

bool ag_switch_settle(const struct ag_switch *s, int dev_fd)
{
    if (!s || *s->done)
        return true;
    struct pollfd p = {.fd = s->done_fd};

    (void)!write(s->ask_fd, "", 1); /* a full pipe asks already */
    if (poll(&p, 1, SETTLE_MS) > 0 && !*s->done)
        tracer_gone(dev_fd);
    return *s->done;
}

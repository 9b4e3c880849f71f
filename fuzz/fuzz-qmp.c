/* SPDX-License-Identifier: MIT */
/* The QMP client against any bytes, in one or two pieces.  Input: u8 offset of the cut, then the bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "vm/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
    struct pv_qmp *qmp;
};

static void on_reply(void *arg, const struct json_t *value)
{
    (void)arg;
    (void)value;
}

static void on_event(void *arg, const char *event, const struct json_t *data)
{
    struct peer *p = arg;

    (void)data;
    if (!strcmp(event, "STOP"))
        pv_qmp_post(p->qmp, "query-status", NULL, on_reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_loop *loop = pv_loop_new(NULL);
    struct peer p = {0};
    size_t cut;
    int fds[2];

    if (size < 1 || size > 65536 || !loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        pv_loop_free(loop);
        return 0;
    }
    cut = size > 1 ? *data % size : 0;
    data++;
    size--;
    p.qmp = pv_qmp_take_fd(loop, fds[0], on_event, &p, NULL);
    if (!p.qmp)
        abort();
    if (send(fds[1], data, cut, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        abort();
    pv_qmp_drain(p.qmp);
    if (send(fds[1], data + cut, size - cut, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && !pv_qmp_fault(p.qmp))
        abort();
    close(fds[1]);
    pv_qmp_drain(p.qmp);
    if (!pv_qmp_fault(p.qmp))
        abort(); /* EOF must be a fault */
    pv_qmp_free(p.qmp);
    pv_loop_free(loop);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* The requests without data of their own: MOUNT_VFS, SHUTDOWN, PING. */
#include "guest/call.h"

#include <string.h>

#include "util/clock.h"

int pv_agent_mount_vfs(struct pv_agent *a, int64_t timeout_ns, struct pv_err *err)
{
    struct pv_call c = {.ok = true};
    struct pv_enc e;

    if (pv_call_begin(a, &c, PV_MSG_MOUNT_VFS, "mount_vfs", &e, err) < 0)
        return -1;
    return pv_call_finish(a, &c, &e, "mount_vfs", timeout_ns, err);
}

static int ask_end(struct pv_agent *a, uint32_t how, const char *what, int64_t deadline, struct pv_err *err)
{
    struct pv_call c = {.ok = true};
    struct pv_enc e;

    if (pv_call_begin(a, &c, PV_MSG_SHUTDOWN, what, &e, err) < 0)
        return -1;
    pv_enc_u32(&e, how);
    /* The machine needs the last 3 s of the deadline to power off. */
    return pv_call_finish(a, &c, &e, what, pv_left(deadline - 3 * PV_NSEC_PER_SEC), err);
}

int pv_agent_ask_shutdown(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    return ask_end(a, PV_SHUTDOWN_POWEROFF, "shutdown", deadline, err);
}

int pv_agent_ask_reboot(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    return ask_end(a, PV_SHUTDOWN_REBOOT, "reboot", deadline, err);
}

struct ping_call {
    struct pv_call c;
    const void *data;
    size_t n;
};

static int pong_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    const struct ping_call *ping = PV_CONTAINER_OF(c, struct ping_call, c);
    const void *p;
    size_t n;

    if (type != PV_MSG_PONG)
        return pv_call_unexpected(type, err);
    p = pv_dec_bytes(d, &n);
    if (!pv_dec_done(d) || n != ping->n || (n && memcmp(p, ping->data, n) != 0))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent echoed other bytes than it was sent");
    return 1;
}

int pv_agent_ping(struct pv_agent *a, const void *data, size_t n, int64_t timeout_ns, struct pv_err *err)
{
    struct ping_call ping = {.c = {.frame = pong_frame}, .data = data, .n = n};
    struct pv_enc e;

    if (pv_call_begin(a, &ping.c, PV_MSG_PING, "ping", &e, err) < 0)
        return -1;
    pv_enc_bytes(&e, data, n);
    return pv_call_finish(a, &ping.c, &e, "ping", timeout_ns, err);
}

/* SPDX-License-Identifier: MIT */
/* SPAWN: a worker, which is a session of its own in a fork or a thread of this process. */
#include "agent/verb.h"

#include <errno.h>
#include <unistd.h>

#include "agent/offer.h"
#include "agent/process.h"
#include "agent/process-table.h"
#include "agent/vsock.h"

static void reply_worker(struct ag_session *s, uint32_t id, uint32_t port, pid_t pid)
{
    struct pv_enc e = ag_frame_begin(s, PV_MSG_WORKER, 64);

    pv_enc_u32(&e, id);
    pv_enc_u32(&e, port);
    pv_enc_u32(&e, (uint32_t)pid);
    ag_frame_end(s, &e);
}

static bool spawn_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint32_t flags = pv_dec_u32(d), port = 0;
    bool serial = s->w.ctl_fd >= 0, thread = flags & PV_SPAWN_THREAD;
    struct ag_slot *slot = NULL;
    pid_t pid = -1;

    if (!pv_dec_done(d) || flags & ~(uint32_t)PV_SPAWN_THREAD)
        return false;
    if (s->worker) {
        ag_reply_error(s, id, EPERM, "spawn from a worker");
        return true;
    }
    int fd = serial ? ag_offer_send(&s->w, &port) : ag_vsock_listen(&port, 1);

    if (fd < 0) {
        ag_reply_error(s, id, errno,
                       serial ? "make a channel for the worker" : "listen for the worker on vsock");
        return true;
    }
    errno = EAGAIN;
    if (s->w.table && (slot = ag_process_table_take(s->w.table)))
        pid = thread ? ag_worker_thread(s, fd, slot) : ag_worker_fork(s, fd, slot);
    int e = errno;

    if (pid < 0 || !thread)
        close(fd);
    if (pid > 0) {
        reply_worker(s, id, port, pid);
        return true;
    }
    if (slot)
        ag_slot_end(slot, 0);
    ag_reply_error(s, id, e, "%s a worker", thread ? "make a thread for" : "fork");
    return true;
}

const struct ag_verb ag_verb_spawn = {.message = PV_MSG_SPAWN, .start = spawn_start};

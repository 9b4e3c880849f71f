/* SPDX-License-Identifier: MIT */
/*
 * The channel to one guest: carries the sessions of its agent processes.  Three kinds: vhost-vsock of the
 * host's kernel (vsock-kernel.c), our own vhost-user-vsock device (vhost/channel.c), a virtio-serial port
 * (serial.c).
 *
 *     c = pv_serial_new(loop, &err);                   // QEMU inherits c->qemu_fd
 *     s = c->ops->connect(c, PV_AGENT_PORT, &err);
 *     c->ops->free(c);
 *
 * Owned by a guest's instance; works in callbacks of the loop; never blocks.  A fault of the guest breaks the
 * channel for good (error, error_text) and every stream of it.
 */
#ifndef PV_TRANSPORT_CHANNEL_H
#define PV_TRANSPORT_CHANNEL_H

#include <stdbool.h>

struct pv_channel;
struct pv_err;
struct pv_loop;
struct pv_stream;

enum pv_channel_kind {
    PV_CHANNEL_NONE,
    PV_CHANNEL_VHOST_VSOCK,
    PV_CHANNEL_VHOST_USER_VSOCK,
    PV_CHANNEL_SERIAL,
};

struct pv_channel_ops {
    /*
     * Starts a connection to a port in the guest; the stream is `connecting` until its on_event comes with
     * connecting=false and error 0 (made) or ECONNREFUSED (nobody listens yet), ECONNRESET.  Its owner limits
     * the time: a guest that the host gives no CPU accepts late, and a worker's process accepts one connection.
     * NULL with *err for faults of the host and for a channel that is broken.
     */
    struct pv_stream *(*connect)(struct pv_channel *c, unsigned port, struct pv_err *err);
    /* True once the guest's driver can reply at all; a connect before that gets no reply. */
    bool (*ready)(struct pv_channel *c);
    /*
     * Savable channels alone.  Asks the guest to come to rest.  idle: no session, no worker and no process
     * that they started may be left; the caller has closed all its streams then (asserted).  Without it
     * streams stay open and live on when the machine does; writes to them are held back meanwhile.  The
     * caller sets the deadline.
     */
    void (*quiesce)(struct pv_channel *c, bool idle);
    /*
     * True when the guest is at rest and no byte is in flight in either direction: the machine may be
     * stopped.
     */
    bool (*quiesced)(const struct pv_channel *c);
    /* Ends the rest, or the request for it: the machine goes on.  Without a quiesce: nothing. */
    void (*wake)(struct pv_channel *c);
    /*
     * NULL where a pause of the machine does not touch connections.  Between the two the machine is paused, and they
     * stay.  was_reset: it was reset meanwhile, and they end.
     */
    void (*hold)(struct pv_channel *c);
    void (*release)(struct pv_channel *c, bool was_reset);
    /* Why no connection stands, for a person: static text. */
    const char *(*describe)(struct pv_channel *c);
    void (*free)(struct pv_channel *c);
};

/* Embedded in each implementation's own struct. */
struct pv_channel {
    const struct pv_channel_ops *ops;
    enum pv_channel_kind kind;
    bool savable;         /* a machine with this channel can be saved and resumed */
    unsigned cid;         /* the guest's; 0: a kind without CIDs */
    int qemu_fd;          /* QEMU inherits it (vhostfd, or our end of a chardev); -1 once closed */
    int error;            /* not 0: broken for good (errno) */
    char error_text[256]; /* why, for people */
    /* Called (if set) from the loop when `ready` or `quiesced` turns true and when the channel breaks. */
    void (*on_change)(struct pv_channel *c, void *arg);
    void *arg;
};

/* "vhost-vsock", "vhost-user-vsock", "virtio-serial", "none" */
const char *pv_channel_kind_name(enum pv_channel_kind kind);

/* Opens /dev/vhost-vsock and finds a free CID by trying. */
struct pv_channel *pv_vsock_kernel_new(struct pv_loop *loop, struct pv_err *err);
/* True if /dev/vhost-vsock can be opened and a CID be set; else *why (static text) says what is missing. */
bool pv_vsock_kernel_usable(const char **why);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The channel over virtio-serial (channel.h), whose connections are multiplexed over one byte stream
 * (wire/mux.h).  The one channel with which a machine can be saved and resumed.
 *
 *     c = pv_serial_new(loop, &err);                   // QEMU inherits c->qemu_fd
 *     s = c->ops->connect(c, PV_AGENT_PORT, &err);     // at any time: writes wait for the guest
 *     ...
 *     c->ops->quiesce(c, true);                        // every stream was closed before
 *     wait until c->ops->quiesced(c); on_change is called when it turns true, and when the channel breaks;
 *     stop the machine and save it
 *
 * pv_serial_new sends HELLO with a new nonce at once, whether the guest boots or is resumed; it waits in the
 * socket until the guest opens its port.  Bytes of an older greeting's connections are dropped, at most 1 MiB
 * of them: more is a fault.
 *
 * The guest's bytes are hostile and checked here.  Memory is bounded by PV_MUX_CHANNELS windows.
 */
#ifndef PV_TRANSPORT_SERIAL_H
#define PV_TRANSPORT_SERIAL_H

#include "transport/channel.h"

struct pv_channel *pv_serial_new(struct pv_loop *loop, struct pv_err *err);

/*
 * The machine was reset: all connections are over (ECONNRESET), a new HELLO is sent, and an end of the old agent
 * is forgotten.  Class protocol for a channel that broke in another way, host.  The owners close
 * the streams.
 */
int pv_serial_restart(struct pv_channel *c, struct pv_err *err);

/* The guest has closed its end of the port: breaks the channel.  arg: a channel of pv_serial_new. */
void pv_serial_closed(void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The way to a guest over virtio-serial: a pv_vsock in all that its users do (connect to a port, ready,
 * free), whose connections are channels of one byte stream (wire/mux.h).  For machines that are saved and
 * resumed, which a vhost-user device can not be, and for whoever asks for it.
 *
 *     v = pv_serial_new(loop, &err);       // v->kind is "virtio-serial"; QEMU inherits v->qemu_fd
 *     s = v->ops->connect(v, PV_AGENT_PORT, &err);     // at any time: what is written waits for the guest
 *     ...
 *     pv_serial_quiesce(v, true);          // every stream was closed before it
 *     wait until pv_serial_quiesced(v)     // on_change is called when it turns true, and when the device
 * breaks stop the machine and save it
 *
 * A conversation begins with pv_serial_new, whether the guest boots or is resumed: HELLO with a new nonce is
 * sent at once and waits in the socket until the guest opens its port.  What an older conversation left
 * behind is dropped: at most 1 MiB of it, more is a fault.
 *
 * Owned by a guest; runs in callbacks of the loop; never blocks.  The guest's bytes are hostile and checked
 * here: a fault breaks the device (v->error, v->error_text) and every stream of it.  Memory is bounded by
 * PV_MUX_CHANNELS windows.
 */
#ifndef PV_TRANSPORT_SERIAL_H
#define PV_TRANSPORT_SERIAL_H

#include <stdbool.h>

#include "transport/stream.h"

/* `kind` of such a pv_vsock; compare with pv_is_serial. */
#define PV_SERIAL_KIND "virtio-serial"

struct pv_vsock *pv_serial_new(struct pv_loop *loop, struct pv_err *err);

/* True for what pv_serial_new made. */
bool pv_is_serial(const struct pv_vsock *v);

/*
 * Asks the guest to come to rest (QUIESCE): `idle`: with no session, no worker and nothing that they started
 * left; the caller has closed all its streams then (asserted).  Without it, streams may stay and live on
 * when the machine does; what is written to them meanwhile is held back.  The caller gives it a deadline.
 */
void pv_serial_quiesce(struct pv_vsock *v, bool idle);
/* True when the guest is at rest and nothing is in flight in either direction: the machine may be stopped. */
bool pv_serial_quiesced(const struct pv_vsock *v);
/*
 * Takes the rest, or the wish for it, back: for a machine that goes on after it was saved, and after a
 * deadline.  Streams are served again.  Nothing when there was no quiesce.
 */
void pv_serial_wake(struct pv_vsock *v);
/* The guest has closed its end of the port: every stream breaks, and the device with them. `arg` is v. */
void pv_serial_closed(void *arg);

#endif

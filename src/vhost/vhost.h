/* SPDX-License-Identifier: MIT */
/*
 * Our own virtio-vsock device: the back end of QEMU's vhost-user-vsock-pci, inside the harness.  Needs no
 * kernel module, no root and no CID of the host's; the guest uses its stock driver.
 *
 *     struct pv_vsock_device *v = pv_vsock_device_new(loop, cid, &err);
 *     // QEMU inherits v->qemu_fd:  -chardev socket,id=vu,fd=N -device vhost-user-vsock-pci,chardev=vu
 *     struct pv_stream *s = pv_vsock_device_connect(v, 5123, &err);
 *
 * It has no loop and no thread of its own: everything happens in callbacks of the loop it is given.  Guest
 * memory and QEMU's messages are hostile: see vring.h and vu.h for the doors.  A guest or a QEMU that breaks
 * the rules of the rings breaks this device for good (v->error, v->error_text, on_change), and its streams
 * end with ECONNRESET; so does a QEMU that exits ("QEMU closed the vhost-user connection").  A guest that
 * resets or reboots ends the streams, `ready` turns false, and true again when its driver is back.
 *
 * Guest memory must be QEMU's memory-backend-memfd,share=on (sealed against shrinking, as it is by default).
 *
 * Callbacks (on_event, accept, on_change) come from the loop only, never from within a call of the owner's,
 * and may do anything, freeing the device included.  Streams may be closed before or after the device is
 * freed; after it they get no more events, give what they had received, then ECONNRESET, and still have to
 * be closed.  The loop must outlive the device.
 */
#ifndef PV_VHOST_VHOST_H
#define PV_VHOST_VHOST_H

#include <stdbool.h>

struct pv_channel;
struct pv_err;
struct pv_loop;
struct pv_stream;

struct pv_vsock_device {
    unsigned cid;         /* the guest's */
    int qemu_fd;          /* our end of the vhost-user chardev, for QEMU; -1 once closed by the owner */
    int error;            /* not 0: broken for good (errno) */
    char error_text[256]; /* why, for people */
    /* Called (if set) from the loop when pv_vsock_device_ready changes and when the device breaks. */
    void (*on_change)(struct pv_vsock_device *v, void *arg);
    void *arg;
};

/* Class usage: a CID below 3. */
struct pv_vsock_device *pv_vsock_device_new(struct pv_loop *loop, unsigned cid, struct pv_err *err);
void pv_vsock_device_free(struct pv_vsock_device *v);
/* As connect of a channel (transport/channel.h). */
struct pv_stream *pv_vsock_device_connect(struct pv_vsock_device *v, unsigned port, struct pv_err *err);
/* True while the guest's driver is up. */
bool pv_vsock_device_ready(const struct pv_vsock_device *v);

/* A device that carries the agent's sessions (transport/channel.h). */
struct pv_channel *pv_vhost_channel_new(struct pv_loop *loop, unsigned cid, struct pv_err *err);

/*
 * Connections that the guest makes to a port of the host (CID 2): `accept` is called with each new stream
 * and takes it.  Ports without a listener answer RST.  At most 8 ports; -1 when full.
 */
int pv_vsock_device_listen(struct pv_vsock_device *v, unsigned port,
                           void (*accept)(struct pv_vsock_device *v, struct pv_stream *s, unsigned guest_port,
                                          void *arg),
                           void *arg);

#endif

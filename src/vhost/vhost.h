/* SPDX-License-Identifier: MIT */
/*
 * A virtio-vsock device in this process: the back end of QEMU's vhost-user-vsock-pci.  It needs no kernel
 * module, no root and no CID of the host; the guest uses its stock driver.
 *
 *     struct pv_vsock_device *v = pv_vsock_device_new(loop, cid, &err);
 *
 *     QEMU inherits v->qemu_fd:  -chardev socket,id=vu,fd=N -device vhost-user-vsock-pci,chardev=vu
 *
 *     struct pv_stream *s = pv_vsock_device_connect(v, 5123, &err);
 *
 * The device has no loop and no thread of its own, and its functions do not block: all work is done in
 * callbacks of the caller's loop.  Guest memory and QEMU's messages are untrusted; vring.h and vu.h check
 * them.  A guest or QEMU that breaks the rules of virtio or vhost-user breaks the device for good (v->error,
 * v->error_text, on_change), and its streams end with ECONNRESET.  A QEMU that exits does the same ("QEMU
 * closed the vhost-user connection").  A guest's reset or reboot ends the streams; pv_vsock_device_ready is
 * false until the guest's driver is up again.
 *
 * Guest memory must be QEMU's memory-backend-memfd,share=on (sealed against shrinking by default).
 *
 * Callbacks (on_event, accept, on_change) run from the loop only, never within a call of the owner, and may
 * do anything, including freeing the device.  Streams may be closed before or after the device is freed;
 * after that they report no events, return the received bytes and then ECONNRESET, and still have to be
 * closed.  The loop must outlive the device.
 */
#ifndef PV_VHOST_VHOST_H
#define PV_VHOST_VHOST_H

#include <stdbool.h>

struct pv_channel;
struct pv_err;
struct pv_loop;
struct pv_stream;

struct pv_vsock_device {
    unsigned cid;         /* of the guest */
    int qemu_fd;          /* QEMU's end of the vhost-user chardev; -1 once closed by the owner */
    int error;            /* an errno when the device is broken, else 0 */
    char error_text[256]; /* the reason */
    /* Called (if set) from the loop when pv_vsock_device_ready changes and when the device breaks. */
    void (*on_change)(struct pv_vsock_device *v, void *arg);
    void *arg;
};

/* A device for a guest with this CID.  NULL: class usage for a CID below 3, else host. */
struct pv_vsock_device *pv_vsock_device_new(struct pv_loop *loop, unsigned cid, struct pv_err *err);
void pv_vsock_device_free(struct pv_vsock_device *v);
/* As connect of a channel (transport/channel.h). */
struct pv_stream *pv_vsock_device_connect(struct pv_vsock_device *v, unsigned port, struct pv_err *err);
/* True while the guest's driver is up. */
bool pv_vsock_device_ready(const struct pv_vsock_device *v);

/*
 * QEMU stops the rings of a paused machine as it does when the guest resets its device.  Between hold and release
 * that ends no connection.  was_reset: the machine was reset meanwhile, and the connections end at the release.
 */
void pv_vsock_device_hold(struct pv_vsock_device *v);
void pv_vsock_device_release(struct pv_vsock_device *v, bool was_reset);

/* A channel for the agent's sessions on such a device (transport/channel.h); its ops free it. */
struct pv_channel *pv_vhost_channel_new(struct pv_loop *loop, unsigned cid, struct pv_err *err);

/*
 * Calls `accept` for each connection of the guest to this port of the host (CID 2); `accept` owns the stream.
 * Ports without a listener reply with RST.  -1: the port has a listener, or 8 ports have one.
 */
int pv_vsock_device_listen(struct pv_vsock_device *v, unsigned port,
                           void (*accept)(struct pv_vsock_device *v, struct pv_stream *s, unsigned guest_port,
                                          void *arg),
                           void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/* pv_vsock_device (vhost.h) as a channel for the sessions with an agent. */
#include <stdio.h>

#include "transport/channel.h"
#include "util/mem.h"
#include "vhost/vhost.h"

struct vhost_channel {
    struct pv_channel c;
    struct pv_vsock_device *device;
};

static struct vhost_channel *channel_of(struct pv_channel *c)
{
    return PV_CONTAINER_OF(c, struct vhost_channel, c);
}

static struct pv_stream *vhost_channel_connect(struct pv_channel *c, unsigned port, struct pv_err *err)
{
    return pv_vsock_device_connect(channel_of(c)->device, port, err);
}

static bool vhost_channel_ready(struct pv_channel *c)
{
    return pv_vsock_device_ready(channel_of(c)->device);
}

static const char *vhost_channel_describe(struct pv_channel *c)
{
    return vhost_channel_ready(c) ? "the guest's vsock driver is up, but nothing listens"
                                  : "the guest's vsock driver has not come up";
}

static void vhost_channel_hold(struct pv_channel *c)
{
    pv_vsock_device_hold(channel_of(c)->device);
}

static void vhost_channel_release(struct pv_channel *c, bool was_reset)
{
    pv_vsock_device_release(channel_of(c)->device, was_reset);
}

static void vhost_channel_free(struct pv_channel *c)
{
    struct vhost_channel *v = channel_of(c);

    pv_close(&c->qemu_fd);
    pv_vsock_device_free(v->device);
    free(v);
}

static void vhost_channel_changed(struct pv_vsock_device *device, void *arg)
{
    struct vhost_channel *v = arg;

    v->c.error = device->error;
    snprintf(v->c.error_text, sizeof(v->c.error_text), "%s", device->error_text);
    if (v->c.on_change)
        v->c.on_change(&v->c, v->c.arg);
}

struct pv_channel *pv_vhost_channel_new(struct pv_loop *loop, unsigned cid, struct pv_err *err)
{
    static const struct pv_channel_ops ops = {
        .connect = vhost_channel_connect,
        .ready = vhost_channel_ready,
        .describe = vhost_channel_describe,
        .hold = vhost_channel_hold,
        .release = vhost_channel_release,
        .free = vhost_channel_free,
    };
    struct pv_vsock_device *device = pv_vsock_device_new(loop, cid, err);
    struct vhost_channel *v;

    if (!device)
        return NULL;
    v = pv_xcalloc(1, sizeof(*v));
    v->c = (struct pv_channel){.ops = &ops,
                               .kind = PV_CHANNEL_VHOST_USER_VSOCK,
                               .cid = cid,
                               .qemu_fd = pv_steal_fd(&device->qemu_fd)};
    v->device = device;
    device->on_change = vhost_channel_changed;
    device->arg = v;
    return &v->c;
}

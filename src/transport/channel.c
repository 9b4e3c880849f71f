/* SPDX-License-Identifier: MIT */
#include "transport/channel.h"

const char *pv_channel_kind_name(enum pv_channel_kind kind)
{
    static const char *const names[] = {
        [PV_CHANNEL_NONE] = "none",
        [PV_CHANNEL_VHOST_VSOCK] = "vhost-vsock",
        [PV_CHANNEL_VHOST_USER_VSOCK] = "vhost-user-vsock",
        [PV_CHANNEL_SERIAL] = "virtio-serial",
    };

    return names[kind];
}

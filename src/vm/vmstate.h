/* SPDX-License-Identifier: MIT */
/* QEMU's migration stream, read as far as the first device.  Private to vm. */
#ifndef PV_VM_VMSTATE_H
#define PV_VM_VMSTATE_H

#include <stddef.h>

/* Types of sections in the stream. */
enum {
    PV_VMSTATE_START = 0x01,
    PV_VMSTATE_PART,
    PV_VMSTATE_END,
    PV_VMSTATE_FULL,
    PV_VMSTATE_SUBSECTION,
    PV_VMSTATE_DESCRIPTION,
    PV_VMSTATE_CONFIGURATION,
    PV_VMSTATE_FOOTER = 0x7e
};

/* Length of the stream's head: configuration and memory, in front of the devices.  0: no known format. */
size_t pv_vmstate_head(const void *data, size_t n);

#endif

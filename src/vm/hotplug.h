/* SPDX-License-Identifier: MIT */
/*
 * PCIe hotplug: a device that cannot be saved is in the VM between saves only, behind a root port that the
 * command line makes.
 */
#ifndef PV_VM_HOTPLUG_H
#define PV_VM_HOTPLUG_H

#include <stdint.h>

/*
 * The root port, a value of -device; q35 alone has PCIe.  (A port in qemu_args counts its chassis from 0 by
 * default.)
 */
#define PV_VM_HOTPLUG_PORT "vsockport"
#define PV_VM_HOTPLUG_DEVICE "pcie-root-port,id=" PV_VM_HOTPLUG_PORT ",chassis=200"

struct pv_err;
struct pv_vm;

/*
 * Hotplugs a vhost-user-vsock device into the empty root port.  Its back end serves fd's peer from this
 * process's loop; fd stays the caller's.  All guest memory must be SHARED and the file sealed (vhost.h).  The
 * vCPUs may be stopped: then the guest finds the device after pv_vm_cont.  Returns when QEMU has made the
 * device; the back end knows when the guest's driver uses it.  Blocks (runs the loop).
 */
int pv_vm_hotplug_vsock(struct pv_vm *vm, int fd, int64_t deadline, struct pv_err *err);
/*
 * Asks the guest, which must run, to release the device, and waits until it is gone.  Returns 0 at once when
 * the port is empty, because a guest may eject a device by itself.  Class timeout when the guest does not
 * release it; may be called again then.  Blocks (runs the loop).
 */
int pv_vm_unplug_vsock(struct pv_vm *vm, int64_t deadline, struct pv_err *err);

#endif

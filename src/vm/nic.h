/* SPDX-License-Identifier: MIT */
/*
 * NICs: virtio-net devices behind one bridge that takes devices while the machine runs.  Each has a slot, its place on
 * the bridge, which a saved machine keeps.  QEMU's side of the Ethernet is a SOCK_DGRAM socket of one frame a datagram.
 */
#ifndef PV_VM_NIC_H
#define PV_VM_NIC_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_strv;
struct pv_vm;

enum { PV_VM_NICS_MAX = 8, PV_MAC_SIZE = 6 };

/* The bridge, a value of -device; q35 alone tells its kernel of devices that are plugged in. */
#define PV_VM_NIC_BRIDGE "pcie-pci-bridge,id=nics,addr=0x1e"

struct pv_vm_nic {
    uint8_t mac[PV_MAC_SIZE];
    unsigned mtu; /* the largest that the guest may set; 0: the slot is empty */
};

/* Adds the options of a machine that starts with the NIC; its descriptor is PV_QEMU_FD_NIC + slot. */
void pv_vm_nic_args(unsigned slot, const struct pv_vm_nic *nic, struct pv_strv *args);

/*
 * Plugs a NIC into an empty slot of a VM that runs or is stopped; fd, QEMU's end of the socket, stays the caller's.
 * Returns when QEMU has made the device.  Blocks (runs the loop).
 */
int pv_vm_plug_nic(struct pv_vm *vm, unsigned slot, const struct pv_vm_nic *nic, int fd, int64_t deadline,
                   struct pv_err *err);
/*
 * Asks the guest, which must run, to release the device, and waits until it is gone.  Class timeout when the guest
 * does not release it; may be called again then.  Blocks (runs the loop).
 */
int pv_vm_unplug_nic(struct pv_vm *vm, unsigned slot, int64_t deadline, struct pv_err *err);
/* Sets the carrier.  Blocks (runs the loop). */
int pv_vm_set_link(struct pv_vm *vm, unsigned slot, bool up, int64_t deadline, struct pv_err *err);

#endif

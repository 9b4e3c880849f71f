/* SPDX-License-Identifier: MIT */
/* The description of a VM for QEMU, and QEMU's command line as a pure function of it, which reads no file. */
#ifndef PV_VM_SPEC_H
#define PV_VM_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/channel.h"

struct pv_buf;
struct pv_strv;
struct pv_vm_share;

/* -machine without `machine`: turns off devices that cost boot time and that no virtio guest needs. */
#define PV_VM_MACHINE "q35,usb=off,vmport=off,smbus=off,sata=off,hpet=off"

enum pv_vm_bus { PV_VM_BUS_VIRTIO, PV_VM_BUS_NVME, PV_VM_BUS_SCSI };

struct pv_vm_disk {
    const char *name; /* becomes the serial number; NULL: none */
    enum pv_vm_bus bus;
    unsigned sector; /* bytes; 0: the device's default */
    bool
        served; /* over NBD, on served_fd, which QEMU inherits; the members below but readonly mean nothing */
    int served_fd;
    const char *path;
    const char *format; /* "raw" or "qcow2" */
    bool readonly;
    bool snapshot; /* the guest writes to an overlay (overlay.h), which ends with the VM */
    /* The backing chain of a snapshot disk between `path` and the overlay: read-only qcow2, lowest first. */
    const int *backing;
    size_t n_backing;
    bool copy_top; /* a snapshot disk's overlay begins as a copy of top_fd (qcow2), else it begins empty */
    int top_fd;    /* of no meaning without copy_top */
};

enum pv_vm_memory {
    PV_VM_MEMORY_OWN,    /* QEMU allocates it */
    PV_VM_MEMORY_SHARED, /* memory.fd, mapped shared */
    PV_VM_MEMORY_PRIVATE /* memory.fd, mapped copy-on-write: the file does not change */
};

/*
 * Zero-initialised descriptors are valid numbers: initrd_fd is -1 for none.
 * reason: a command line has that many parts
 */
struct pv_vm_spec {
    const char *name; /* for messages and -name */
    const char *qemu; /* program, NULL: qemu-system-x86_64 */
    const char *kernel;
    int kernel_fd;      /* that file, open: becomes -kernel /proc/self/fd/N; 0: QEMU opens the path */
    const char *append; /* whole kernel command line */
    int initrd_fd;      /* becomes -initrd /proc/self/fd/N; -1: none */
    bool kvm;
    bool one_thread;     /* software emulation runs all vCPUs in one thread; of no meaning with kvm */
    bool no_cx16;        /* the default CPU of software emulation has no cmpxchg16b */
    const char *machine; /* replaces the default (q35 without what no virtio guest needs) as a whole */
    const char *cpu;     /* NULL: by accelerator */
    unsigned cpus;       /* 0: 1 */
    struct {
        uint64_t size; /* bytes */
        enum pv_vm_memory kind;
        bool read_only; /* PRIVATE: QEMU opens the file for reading only (pv_qemu_maps_read_only) */
        int fd;         /* a file of pv_vm_memory_size(size) bytes, unless kind is OWN */
    } memory;
    struct {
        bool savable;  /* pv_vm_save will be called */
        bool incoming; /* the VM starts as pv_vm_load finds it in load_fd */
        int load_fd;   /* of an open file description that no other process reads */
    } state;
    const struct pv_vm_disk *disks; /* become vda, vdb, ... in order */
    size_t n_disks;
    const struct pv_vm_share *shares; /* (their options are in machine_args) */
    size_t n_shares;
    struct {
        enum pv_channel_kind kind; /* VHOST_USER: all guest memory is a memfd shared with the back end */
        int fd;                    /* inherited by QEMU, unless kind is NONE */
        unsigned cid;
    } channel;
    const int *
        nic_fds; /* PV_VM_NICS_MAX, by slot; -1: no NIC (its options are in machine_args); NULL: none at all */
    char *const *machine_args; /* further options of the machine, in front of its disks; or NULL */
    char *const *extra_args;   /* the profile's qemu_args, NULL-terminated or NULL */
    bool unconfined;           /* QEMU may open what the user can (confine.h) */
    bool no_sandbox;           /* QEMU has no seccomp (pv_qemu_confines) */
    bool core;                 /* a core may be asked for (core.h); QEMU outlives the guest */
    int gdb_fd;             /* a listening socket for a debugger, whose `continue` starts the CPUs; 0: none */
    const char *fatal_mark; /* a console line with this text tells why the guest init gave up
                                (PV_FATAL_MARK); NULL: none.  Used by pv_vm_start alone */
};

/* Descriptor numbers inside QEMU. */
enum {
    PV_QEMU_FD_CONSOLE_IN = 0, /* these two as QEMU's stdio has them */
    PV_QEMU_FD_CONSOLE = 1,
    PV_QEMU_FD_QMP = 3,
    PV_QEMU_FD_VSOCK = 5,
    PV_QEMU_FD_INITRD = 6,
    PV_QEMU_FD_OVERLAY = 7, /* + index of a snapshot or served disk */
    PV_QEMU_FD_MEMORY = 32,
    PV_QEMU_FD_SAVE = 33,
    PV_QEMU_FD_LOAD = 34,
    PV_QEMU_FD_RULESET = 35,
    PV_QEMU_FD_KERNEL = 36,
    PV_QEMU_FD_GDB = 37,
    PV_QEMU_FD_CORE = 38,
    PV_QEMU_FD_BACKING = 40, /* + index in the backing chains of all disks, one behind the other */
    PV_QEMU_FD_NIC = 104,    /* + slot of a NIC (nic.h) */
    PV_QEMU_FD_SHARE = 112   /* + slot of a share by virtiofs (share.h) */
};
enum { PV_VM_DISKS_MAX = 24, PV_VM_BACKING_MAX = 64 };

/* The id of the agent's port of the virtio-serial device. */
#define PV_VM_AGENT_PORT "agent"

/* The memory size that QEMU rounds `memory` up to, bytes. */
uint64_t pv_vm_memory_size(uint64_t memory);

/* Adds the whole argv, argv[0] included. */
void pv_vm_args(const struct pv_vm_spec *spec, struct pv_strv *argv);

/* Adds text as a value of one of QEMU's options, whose parser wants commas doubled. */
void pv_vm_add_value(struct pv_buf *b, const char *text);

/*
 * The kernel command line: the console, options that make booting faster and that no test may depend on,
 * rdinit= and provium.init= (each NULL: none), then the profile's and the boot call's
 * options, which come last and so win.  tsc_khz 0: unknown.  The caller frees.  The kernel cuts a command line
 * behind PV_KERNEL_ARGS_MAX bytes.
 */
char *pv_vm_kernel_args(bool kvm, uint32_t tsc_khz, const char *rdinit, const char *init,
                        const char *profile_append, const char *boot_append);
enum { PV_KERNEL_ARGS_MAX = 2047 };

#endif

/* SPDX-License-Identifier: MIT */
/* Runs a tiny 64-bit guest through the KVM API and measures its speed.  Private to vm. */
#ifndef PV_VM_KVMPROBE_H
#define PV_VM_KVMPROBE_H

#include <stddef.h>

enum pv_kvm_result {
    PV_KVM_FAST,   /* at hardware's speed */
    PV_KVM_SLOW,   /* emulated */
    PV_KVM_BROKEN, /* the API works, guest code does not run */
    PV_KVM_ABSENT  /* no /dev/kvm, or no permission */
};

/* Opens /dev/kvm: the descriptor, or -1 with PV_KVM_ABSENT or BROKEN in *result and one line in `why`. */
int pv_kvm_open(enum pv_kvm_result *result, char *why, size_t n);

/* Takes 1 ms where KVM works, at most about 15 ms elsewhere.  `kvm` stays the caller's. */
enum pv_kvm_result pv_kvm_probe(int kvm, char *why, size_t n);

#endif

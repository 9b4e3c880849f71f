/* SPDX-License-Identifier: MIT */
/* The content of the cache's file about KVM (accel.c). */
#ifndef PV_VM_ACCEL_FILE_H
#define PV_VM_ACCEL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/kvmprobe.h"

/* kvm is ABSENT when KVM could not be probed. */
struct pv_accel_file {
    enum pv_kvm_result kvm;
    uint32_t tsc_khz;
    char why[256]; /* one line */
};

/*
 * False for anything but a whole file of the host's boot `boot_id`.  Then m->kvm is ABSENT, and m->tsc_khz what a whole
 * file of another boot says, else 0.
 */
bool pv_accel_file_parse(struct pv_accel_file *m, const char *text, size_t n, const char *boot_id);

#endif

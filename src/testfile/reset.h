/* SPDX-License-Identifier: MIT */
/* provium.reset_between_tests: every outermost test starts from the state that the file's VMs had when the
 * first one began. */
#ifndef PV_TESTFILE_RESET_H
#define PV_TESTFILE_RESET_H

#include <stdbool.h>
#include <stddef.h>

struct pv_err;
struct pv_testfile;
struct tf_guest;

struct tf_reset {
    bool on;    /* VMs are booted so that they can be saved */
    bool begun; /* the snapshots are there */
    struct tf_reset_vm *vms;
    size_t n;
    struct tf_guest *last; /* the youngest VM when the first test began, held; NULL: there was none */
};

void pv_tf_reset_set(struct pv_testfile *tf, bool on);
/*
 * An outermost test begins: the first one takes a snapshot of every running VM, later ones restore them.
 * Nothing when it is off.  Blocks.
 */
int pv_tf_reset_begin(struct pv_testfile *tf, struct pv_err *err);
/*
 * Before an outermost test begins: ends the VMs that pv_tf_reset_begin restores, because the last words of their
 * kernels do not belong to that test.
 */
void pv_tf_reset_halt(struct pv_testfile *tf);
/* An outermost test ends: ends the VMs that it made. */
void pv_tf_reset_end(struct pv_testfile *tf);
void pv_tf_reset_free(struct tf_reset *r);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * virtiofsd: a daemon that gives a directory of the host to a guest, as the back end of QEMU's vhost-user-fs-pci.  There
 * are two: QEMU's own of C, until QEMU 8.0, which needs root, and its successor of Rust, which does not.  All that the
 * guest sends is the daemon's to check, so it gets as few rights as it can work with:
 *
 *     root         a mount namespace with the directory alone, read-only unless it is shared with writes, without devices;
 *                  then the daemon's own sandbox (namespaces, few capabilities, seccomp)
 *     without it   the daemon's seccomp and --readonly, and Landlock where the kernel has it
 *
 *     fs = pv_virtiofsd_start(loop, program, &share, &err);
 *     share.qemu_fd = pv_virtiofsd_fd(fs);          QEMU inherits it
 *     pv_virtiofsd_close_fd(fs);                    QEMU was started: the daemon ends with it
 *     pv_virtiofsd_on_end(fs, fn, arg);
 */
#ifndef PV_VM_VIRTIOFSD_H
#define PV_VM_VIRTIOFSD_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_loop;
struct pv_virtiofsd;
struct pv_vm_share;

struct pv_virtiofsd_program {
    char *path;     /* owned */
    bool rust;      /* it needs no root */
    bool read_only; /* it can refuse writes by itself */
};

/*
 * Finds the program, the only place that looks for it: PROVIUM_VIRTIOFSD in the environment, else virtiofsd in PATH, else
 * where distributions keep it.  What it is, its own --help tells (blocks for at most 10 s).  -1: class usage when the
 * variable names none, missing when there is none or it cannot share anything as this user.
 */
int pv_virtiofsd_find(struct pv_virtiofsd_program *p, struct pv_err *err);
void pv_virtiofsd_program_fini(struct pv_virtiofsd_program *p);

/*
 * Starts it and waits, for at most 10 s, until it serves.  It ends with this process, and with its connection.  NULL: class
 * host, with the daemon's own words; also when nothing but the guest's kernel would keep the guest from writing.
 */
struct pv_virtiofsd *pv_virtiofsd_start(struct pv_loop *loop, const struct pv_virtiofsd_program *p,
                                        const struct pv_vm_share *share, struct pv_err *err);
/* Kills it, if it is alive, and reaps it.  NULL is fine. */
void pv_virtiofsd_free(struct pv_virtiofsd *fs);

int pv_virtiofsd_fd(const struct pv_virtiofsd *fs);
void pv_virtiofsd_close_fd(struct pv_virtiofsd *fs);
/* How many files it may have open: it holds one for every file that the guest knows. */
uint64_t pv_virtiofsd_files(const struct pv_virtiofsd *fs);
/* fn is called from the loop, once, when it has ended by itself; why: a sentence with its last words, lent for the call. */
void pv_virtiofsd_on_end(struct pv_virtiofsd *fs, void (*fn)(const char *why, void *arg), void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/* Whether a saved VM can be resumed here, and how this host differs from the one where it was saved. */
#ifndef PV_CLI_RESUME_CHECK_H
#define PV_CLI_RESUME_CHECK_H

#include <stdbool.h>

struct pv_buf;
struct pv_config;
struct pv_err;
struct pv_profile;
struct pv_pvsave;
struct pv_pvsave_vm;

/*
 * Fills in the profile that the VM is resumed with; it owns its strings.  Adds a line to `notes` for each difference.
 * -1: class usage or missing, the reason why it cannot work here.  config: for profiles with qemu_args, which are taken
 * from there alone; NULL: there is none.  Blocks: runs QEMU for its version, reads disk images.
 */
int pv_resume_check(const struct pv_pvsave *s, const struct pv_pvsave_vm *vm, const struct pv_config *config,
                    struct pv_profile *p, struct pv_buf *notes, struct pv_err *err);
void pv_resume_profile_fini(struct pv_profile *p);

#endif

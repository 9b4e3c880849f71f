/* SPDX-License-Identifier: MIT */
/* Where the default guest is, and how a user gets it. */
#ifndef PV_CONFIG_GUESTDIR_H
#define PV_CONFIG_GUESTDIR_H

struct pv_err;

/*
 * The directory of the default guest: $PROVIUM_GUEST_DIR if set and not empty; else the first that has a vmlinuz of
 * `guest` beside the running binary, the user's own (pv_guest_home) and ../share/provium/guest from the binary.
 * NULL: none has.  The caller frees.
 */
char *pv_guest_dir(void);

/*
 * The directory in which `provium setup` makes the guest: $PROVIUM_GUEST_DIR, in a source tree `guest` beside the
 * binary, else $XDG_DATA_HOME/provium/guest or $HOME/.local/share/provium/guest.  NULL: no variable is set.  The
 * caller frees.
 */
char *pv_guest_home(void);

/* The command that makes the default guest: `make setup` for a binary in a source tree, else `provium setup`. */
const char *pv_guest_command(void);

/* Appends to *err why there is no default guest and the remedy, after "the default guest is not set up" or its like. */
void pv_guest_advise(struct pv_err *err);

#endif

/* SPDX-License-Identifier: MIT */
/* One VM for a person: `provium shell` and `provium run` describe it, and it ends with them. */
#ifndef PV_CLI_HAND_H
#define PV_CLI_HAND_H

#include <stdbool.h>

#include "config/config.h"
#include "guest/guest.h"
#include "util/mem.h"

struct pv_err;

/* Strings are borrowed unless a comment says owned.  Zero-initialised: the default profile's VM, a shell in it. */
struct hand_opts {
    const char *command; /* "shell", for messages */
    const char *config;  /* NULL: searched */
    const char *profile; /* NULL: "default" */
    const char *fixture; /* in place of a profile; NULL: none */
    const char *kernel;  /* in place of the profile's, see kernel.h; NULL: the profile's */
    const char *rootfs; /* in place of the profile's initrd or rootfs, see hand-root.h; NULL: the profile's */
    enum pv_accel accel;
    struct pv_boot_opts boot; /* owned */
    struct pv_strv argv;      /* of the guest's command; empty: a shell; owned */
    bool cold;                /* no cached boot */
    bool rw;                  /* writes to a directory that is the root reach the host */
    bool net;                 /* an uplink, see hand-net.h */
    bool gdb;                 /* a debugger starts the kernel (`provium gdb`) */
    bool quiet;               /* no line about how it booted */
    const char *cwd;          /* in the guest; NULL: `here`, or as of pv_shell_run */
    char *here;               /* this process's working directory in the guest; NULL: not there; owned */
};

void pv_hand_opts_fini(struct hand_opts *o);

/* Values of options; -1 with *err, which names the option. */
int pv_hand_parse_memory(struct hand_opts *o, const char *value, struct pv_err *err);
int pv_hand_parse_cpus(struct hand_opts *o, const char *value, struct pv_err *err);
int pv_hand_parse_accel(struct hand_opts *o, const char *value, struct pv_err *err);

/* Class usage for options that exclude each other. */
int pv_hand_check(const struct hand_opts *o, struct pv_err *err);
/* Boots the VM, runs the command or shell in it, ends the VM.  The command's exit code; -1 with *err. */
int pv_hand_run(struct hand_opts *o, struct pv_err *err);
/*
 * Joins this process's standard descriptors to the command, or to a shell (no words); cwd as in struct hand_opts.
 * Blocks until it has ended.  Its exit code; -1 with *err.
 */
int pv_hand_serve(struct pv_guest *g, const struct pv_strv *argv, const char *cwd, struct pv_err *err);
/*
 * Prints the error; the exit code: 1 when the guest died; 127 and 126, as of a shell, when the command is not in the
 * guest or is no program; else 2.
 */
int pv_hand_error(const struct pv_err *err);

#endif

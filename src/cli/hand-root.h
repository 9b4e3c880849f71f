/* SPDX-License-Identifier: MIT */
/* The root of a VM by hand: `--rootfs` and `--rw` of `provium run`. */
#ifndef PV_CLI_HAND_ROOT_H
#define PV_CLI_HAND_ROOT_H

struct hand_opts;
struct pv_err;
struct pv_profile;

/*
 * Puts o->rootfs into the profile (an image) or into o->boot.root (a directory; "host" is /), and this process's
 * working directory into o->here.  Nothing without o->rootfs.  Class usage: there is no such root, or o->rw has nothing
 * that it may write to.
 */
int pv_hand_root(struct hand_opts *o, struct pv_profile *p, struct pv_err *err);

#endif

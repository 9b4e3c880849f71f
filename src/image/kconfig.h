/* SPDX-License-Identifier: MIT */
/* A kernel's configuration, where it can be read, against what a guest needs. */
#ifndef PV_IMAGE_KCONFIG_H
#define PV_IMAGE_KCONFIG_H

#include <stdbool.h>

struct pv_err;

enum pv_kneed {
    PV_KNEED_ROOT = 1,   /* a root image */
    PV_KNEED_SERIAL = 2, /* the agent's channel is virtio-serial */
    PV_KNEED_VSOCK = 4,  /* it is vsock; with both: one of them will do */
    PV_KNEED_NIC = 8,
    PV_KNEED_SHARE = 16, /* the root is a directory of the host, under an overlay */
    PV_KNEED_9P = 32,    /* which the guest reaches by 9p */
    PV_KNEED_VIRTIOFS = 64,
};

/*
 * The configuration of the kernel, NULL: none was found.  Looked for: config-RELEASE beside a vmlinuz-RELEASE, `config` in
 * the modules tree, and .config of the build tree that the kernel lies in, unless it is newer than the kernel.  The
 * caller frees.  tree may be NULL.
 */
char *pv_kconfig_find(const char *kernel, const char *tree);

/* 1: the configuration file has the option as y or m; 0: it has not; -1: it cannot be read. */
int pv_kconfig_has(const char *config, const char *option);

/*
 * -1, class usage, when the configuration file lacks options that a guest with these needs (enum pv_kneed) cannot do
 * without: the text names each with its reason.  y and m count alike: modules are loaded before they are needed.
 */
int pv_kconfig_check(const char *config, unsigned needs, struct pv_err *err);

#endif

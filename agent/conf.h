/* SPDX-License-Identifier: MIT */
/* The settings of guest init: PV_BOOT_CONF in the supplementary initramfs (format: wire/proto.h). */
#ifndef PV_AGENT_CONF_H
#define PV_AGENT_CONF_H

#include <stdbool.h>
#include <stddef.h>

enum { AG_MODULES_MAX = 256, AG_CONF_MAX = 64 * 1024 };

struct ag_conf {
    const char *modules[AG_MODULES_MAX];
    size_t n_modules;
    struct {
        const char *type, *file;
    } fs_modules[AG_MODULES_MAX];
    size_t n_fs_modules;
    const char *rootfs;        /* "vda", or NULL */
    const char *share;         /* tag of the host's directory that is the root, or NULL */
    bool share_writable;       /* without an overlay */
    const char *share_type;    /* the file system of both: "9p", "virtiofs"; NULL: 9p */
    const char *work_share;    /* tag of one that is mounted with writes, at work_dir; or NULL */
    const char *work_dir;      /* absolute */
    bool idle;                 /* guest init stays the guest's init */
    const char *root;          /* or NULL */
    const char *rootflags;     /* options of its mount, or NULL */
    const char *init_fallback; /* or NULL */
    const char *serial;        /* name of the virtio-serial port that replaces vsock, or NULL */
    const char *sums;          /* the list of what must have arrived; NULL: the archive has none */
    const char *
        switch_root; /* "auto", "yes" or "no": whether the initrd switches to another root; NULL: there is none */
    const char *userland; /* host name for the built-in userland; NULL: another one */
};

/*
 * Parses the NUL-terminated text in place; the strings of c point into it.  False, and a message in `why`
 * that names the line: an unknown key, a missing value, a repeated setting, too many modules, a file name
 * with '/'.
 */
bool ag_conf_parse(char *text, struct ag_conf *c, char *why, size_t cap);

/*
 * Copies the value of the last `key=` word on a kernel command line, without the double quotes that the
 * kernel accepts there; false when there is none or it does not fit.
 */
bool ag_cmdline_get(const char *cmdline, const char *key, char *dst, size_t cap);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * provium.toml: profiles, and [provium].  Parsed by toml++ behind config_toml.cc; checked here by one table
 * of keys.
 *
 * Every error is class usage and names FILE:LINE, the key, what was there and what is expected.
 */
#ifndef PV_CONFIG_CONFIG_H
#define PV_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"

struct pv_err;

enum pv_accel { PV_ACCEL_AUTO, PV_ACCEL_KVM, PV_ACCEL_TCG };

/* What carries the bytes between host and guest; auto: vsock, but for guests that are to be saved. */
enum pv_transport { PV_TRANSPORT_AUTO, PV_TRANSPORT_VSOCK, PV_TRANSPORT_SERIAL };

struct pv_profile {
    char *name;
    char *kernel;        /* absolute */
    char *initrd;        /* absolute, or NULL */
    char *rootfs;        /* absolute, or NULL */
    char *rootfs_format; /* "raw" or "qcow2"; by default from the file's first bytes */
    char *root;          /* "/dev/vda2", "LABEL=...", "UUID=...", or NULL: found */
    char *init;          /* "/sbin/init" unless init_set */
    bool init_set;       /* the profile names it */
    char *append;        /* "" by default */
    char *modules; /* absolute path of a /lib/modules/VERSION tree, or NULL: found by the kernel's version */
    char *machine; /* NULL: our default */
    char *cpu;     /* NULL: our default */
    enum pv_accel accel;
    enum pv_transport transport;
    int64_t boot_timeout_ns;  /* 0: the default, 30 s */
    struct pv_strv qemu_args; /* passed on as they are */
    struct pv_strv env;       /* "KEY=VALUE" */
    int line;                 /* of its table header, 0 for the built-in default */
    bool builtin_userland;    /* names neither initrd nor rootfs: initrd is the built-in userland */
};

struct pv_config {
    char *path; /* absolute path of provium.toml, NULL when there is none */
    char *dir;  /* project root: directory of that file, else the working directory */
    struct pv_profile *profiles;
    size_t n_profiles;
    uint64_t cache_size; /* bytes that all fixtures in the cache may occupy together; 20 GiB by default */
    bool standby;        /* VMs may be made ready before they are asked for; true by default */
};

#define PV_CACHE_SIZE (UINT64_C(20) << 30)

/*
 * Loads `path`, or when it is NULL searches provium.toml from the working directory upward; none found is
 * fine: then there is only the profile `default`.  guest_dir holds the default guest (kernel `vmlinuz`,
 * `modules/`, `userland.cpio`), NULL when it is not set up; the file may define `default` itself, which
 * then replaces the built-in one.  Files that a profile names must exist and be readable.
 *
 * A profile with neither `initrd` nor `rootfs` gets initrd = GUEST_DIR/userland.cpio and builtin_userland;
 * while that file is not set up its initrd stays NULL here and pv_config_profile refuses it, so that a
 * project's other profiles can be used before `make setup`.
 *
 * `root` and `rootfs_format` without `rootfs`, and `root` together with `initrd`, are errors: they would have
 * no effect.  `rootfs_format = "raw"` allows an image whose bytes look like a format we would refuse (not
 * qcow2).
 */
struct pv_config *pv_config_load(const char *path, const char *guest_dir, struct pv_err *err);
void pv_config_free(struct pv_config *c);

/*
 * Borrowed. NULL name means "default". Unknown: class usage, the text lists the known ones and a near
 * match. "default" without a default guest, or a profile that needs the built-in userland without one: class
 * missing, the text says `make setup`.
 */
const struct pv_profile *pv_config_profile(const struct pv_config *c, const char *name, struct pv_err *err);

/* "auto", "kvm", "tcg" to the enum; false when it is none of them. */
bool pv_accel_parse(const char *s, enum pv_accel *accel);
/* "auto", "vsock", "serial" likewise. */
bool pv_transport_parse(const char *s, enum pv_transport *transport);

/*
 * Where the default guest lies: $PROVIUM_GUEST_DIR if that is set and not empty (then nothing else), else
 * `guest` beside the running binary, else ../share/provium/guest from it. The caller frees; NULL when there
 * is no vmlinuz in it.
 */
char *pv_guest_dir(void);

#endif

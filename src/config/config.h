/* SPDX-License-Identifier: MIT */
/*
 * provium.toml: profiles, and [provium].  config_toml.cc parses it with toml++; config_keys.c checks profiles
 * by one table of keys.  All functions block on the file system only.
 *
 *     cleanup_free char *guest = pv_guest_dir();
 *     struct pv_config *c = pv_config_load(NULL, guest, err);
 *     const struct pv_profile *p = c ? pv_config_profile(c, "default", err) : NULL;
 *     ...
 *     pv_config_free(c);
 *
 * Errors in the file are class usage; their text has FILE:LINE, the key, its value and the expected one.
 */
#ifndef PV_CONFIG_CONFIG_H
#define PV_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"

struct pv_err;

enum pv_accel { PV_ACCEL_AUTO, PV_ACCEL_KVM, PV_ACCEL_TCG };

/* The channel between host and agent; auto: vsock, except virtio-serial for guests that will be saved. */
enum pv_transport { PV_TRANSPORT_AUTO, PV_TRANSPORT_VSOCK, PV_TRANSPORT_SERIAL };

/* How software emulation runs several vCPUs; auto: in turns in one thread, with every QEMU (pv_emulation_one_thread). */
enum pv_tcg_thread { PV_TCG_THREAD_AUTO, PV_TCG_THREAD_SINGLE, PV_TCG_THREAD_MULTI };

/* Whether the initrd's init switches to another root; auto: guest init finds out. */
enum pv_switch_root { PV_SWITCH_ROOT_AUTO, PV_SWITCH_ROOT_YES, PV_SWITCH_ROOT_NO };

/* reason: a member for each key. */
struct pv_profile {
    char *name;
    char *kernel;        /* absolute */
    char *initrd;        /* absolute, or NULL */
    char *rootfs;        /* absolute, or NULL */
    char *rootfs_format; /* "raw" or "qcow2"; by default from the file's first bytes */
    bool rootfs_backing; /* a qcow2 rootfs may have a backing file */
    char *root;          /* "/dev/vda2", "LABEL=...", "UUID=..."; NULL: the guest init searches it */
    char *rootflags;     /* options of the mount of the root; NULL: none */
    enum pv_switch_root switch_root;
    char *init;    /* "/sbin/init" unless init_set */
    bool init_set; /* the profile has the key `init` */
    char *append;  /* "" by default */
    char *modules; /* absolute path of a /lib/modules/VERSION tree; NULL: searched by the kernel's version */
    char *machine; /* NULL: Provium's default */
    char *cpu;     /* NULL: Provium's default */
    char *qemu;    /* absolute path of a QEMU program; NULL: PROVIUM_QEMU or the system's */
    enum pv_accel accel;
    enum pv_tcg_thread tcg_thread;
    enum pv_transport transport;
    int64_t boot_timeout_ns;  /* 0: the default, 30 s */
    struct pv_strv qemu_args; /* unchecked */
    bool cached;              /* boots may be resumed from one of the past (testfile/cached.h) */
    bool wait_system;         /* a boot ends when systemd is up */
    bool unconfined;          /* confine = false: QEMU may open what the user can */
    struct pv_strv env;       /* "KEY=VALUE" */
    struct pv_strv debug;     /* absolute paths of debug files and directories of such */
    int line;                 /* of its table header; 0 for the built-in default */
    bool builtin_userland;    /* has neither initrd nor rootfs: initrd is the built-in userland */
};

struct pv_config {
    char *path; /* absolute path of provium.toml; NULL: there is none */
    char *dir;  /* project root: directory of that file, else the working directory */
    struct pv_profile *profiles;
    size_t n_profiles;
    uint64_t cache_size;  /* limit of the fixture cache in bytes; PV_CACHE_SIZE by default */
    bool standby;         /* standby VMs are allowed; true by default */
    struct pv_strv tests; /* patterns of test files (util/glob.h), relative to dir; empty: not given */
};

#define PV_CACHE_SIZE (UINT64_C(20) << 30)

/*
 * Loads `path`; NULL: searches provium.toml from the working directory upward, and without one the only
 * profile is `default`.  guest_dir has the default guest (kernel `vmlinuz`, `modules/`, `userland.cpio`);
 * NULL: it is not set up.  A [profile.default] of the file replaces the built-in one.  Files that a profile
 * names must exist and be readable.  The caller frees with pv_config_free.
 *
 * A profile with neither `initrd` nor `rootfs` gets initrd = GUEST_DIR/userland.cpio and builtin_userland.
 * If that file is missing, its initrd is NULL and only pv_config_profile refuses it, so that a project's
 * other profiles work before the guest is set up.
 *
 * `root`, `rootflags` and `rootfs_format` without `rootfs`, and the first two with `initrd`, are errors: they would have
 * no effect.  `rootfs_format = "raw"` accepts an image that looks like an unsupported format.
 */
struct pv_config *pv_config_load(const char *path, const char *guest_dir, struct pv_err *err);
void pv_config_free(struct pv_config *c);

/*
 * The profile of this name (borrowed); name == NULL: "default".  NULL: class usage for an unknown name (the
 * text lists the known ones and a near match); class missing for "default" without a default guest, and for a
 * profile that needs the missing built-in userland (the text has pv_guest_command).
 */
const struct pv_profile *pv_config_profile(const struct pv_config *c, const char *name, struct pv_err *err);

/* "auto", "yes" or "no"; NULL: the profile has no initrd of its own. */
const char *pv_profile_switch_root(const struct pv_profile *p);

/* "auto", "kvm" or "tcg" to the enum; false for other texts. */
bool pv_accel_parse(const char *s, enum pv_accel *accel);
/* "auto", "single" or "multi" to the enum; false for other texts. */
bool pv_tcg_thread_parse(const char *s, enum pv_tcg_thread *thread);
/* "auto", "vsock" or "serial" to the enum; false for other texts. */
bool pv_transport_parse(const char *s, enum pv_transport *transport);

#endif

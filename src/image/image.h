/* SPDX-License-Identifier: MIT */
/*
 * What a guest is made of: its kernel, its modules and the shim archive.  Knows files, not QEMU.
 */
#ifndef PV_IMAGE_IMAGE_H
#define PV_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"

struct pv_err;

/* ---- kernel.c: what kind of kernel a file is, and its unpacked form ---- */

struct pv_kernel {
    char *boot_path; /* what QEMU gets: the unpacked vmlinux in the cache, or the file itself */
    char *release;   /* "6.1.0-56-cloud-amd64" (uname -r), NULL when it cannot be told (vmlinux without it) */
    bool unpacked;   /* boot_path is a vmlinux that came out of a bzImage */
};

/*
 * Checks the file: a bzImage (magic "HdrS", 64-bit) or an ELF64 x86-64 vmlinux with a PVH note; else class
 * usage, saying what the file looks like instead (empty, ELF without PVH, gzip, text, arm64 Image ...).
 *
 * With `unpack`, a bzImage's payload (gzip, xz, zstd, lz4, lzma, bzip2, lzo) is unpacked once into
 * CACHE/kernels/HASH.vmlinux (written to a temporary name, renamed, shared between processes) and used from
 * there if it has a PVH note.  When it cannot be unpacked, has no PVH note, or there is no cache directory
 * the bzImage itself is used: never an error.  A cached file that is damaged (size, checksum) is made anew.
 */
int pv_kernel_open(const char *path, bool unpack, struct pv_kernel *k, struct pv_err *err);
void pv_kernel_fini(struct pv_kernel *k);

/* ---- modules.c: which modules, in which order ---- */

/*
 * The tree of the kernel: `explicit_dir` when not NULL (must hold a modules tree; else class usage), else
 * the first that exists of: modules/RELEASE and modules beside the kernel, lib/modules/RELEASE beside it or
 * one directory up, /lib/modules/RELEASE.  A tree without indexes (an unpacked package) is indexed in the
 * cache, and that directory is returned.  NULL with err->cls == PV_E_NONE when there is none.  Caller frees.
 */
char *pv_modules_find(const char *explicit_dir, const char *kernel_path, const char *release,
                      struct pv_err *err);

struct pv_modlist {
    struct pv_strv paths; /* absolute paths of .ko, .ko.gz, .ko.xz, .ko.zst, dependencies first, no doubles */
};

/*
 * Adds `name` and what it needs.  Built-in (modules.builtin) or already listed: nothing.  Returns 0; 1 when
 * the tree has no such module and it is not built in (the caller decides whether that matters); -1 on
 * error (no modules.dep: the text says which depmod command makes it).
 */
int pv_modlist_add(struct pv_modlist *l, const char *tree, const char *name, struct pv_err *err);
void pv_modlist_fini(struct pv_modlist *l);

/* ---- shim.c: the archive that is appended to the profile's own ---- */

struct pv_shim_file {
    const char *guest_path; /* absolute, normalised by the caller's check */
    const char *host_path;
};

struct pv_shim {
    const char *initrd;               /* the profile's archive (or the userland), copied first; NULL: none */
    const struct pv_modlist *modules; /* loaded always, in order */
    const struct pv_modlist *fs_modules; /* one list for each entry of fs_types */
    const char *const *fs_types;         /* "ext4", ... NULL-terminated; NULL: none */
    const char *rootfs_device;           /* "vda", or NULL */
    const char *root;                    /* SPEC of `root`, or NULL */
    const char *init_fallback;           /* or NULL */
    const char *serial;                  /* name of the agent's virtio-serial port; NULL: it uses vsock */
    const struct pv_shim_file *files;    /* injected */
    size_t n_files;
};

/*
 * Builds the initramfs into a new memfd (position 0, CLOEXEC): the profile's archive (copied in the kernel,
 * never read into this process), padding to 4 bytes, then newc entries made with libarchive: the wrapper
 * (embedded in this binary), PV_BOOT_CONF, modules (decompressed), injected files with their mode (owner
 * root), directories with all that is in them (symlinks kept, other kinds of file refused by name).  Without
 * an initrd also /dev and /dev/console.  A path given explicitly wins over what comes with a directory.
 *
 * A bad initrd (no archive the kernel accepts), an injected host file that is missing or unreadable, a guest
 * path that is not absolute or holds "..": class usage, before anything is started.
 */
int pv_shim_build(const struct pv_shim *shim, int *memfd, struct pv_err *err);

/* Checks that the file begins like an archive the kernel accepts: newc cpio, or
 * gzip/bzip2/lzma/xz/lzo/lz4/zstd. */
int pv_initrd_check(const char *path, struct pv_err *err);

/* The embedded static binary (wrapper and agent in one). */
extern const unsigned char pv_agent_blob[];
extern const unsigned char pv_agent_blob_end[];

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The parts of a guest: its kernel, its modules and its initramfs.  This room knows files, not QEMU, and
 * blocks on the file system only.
 */
#ifndef PV_IMAGE_IMAGE_H
#define PV_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"

struct pv_err;

/* ---- kernel.c: the type of a kernel file, and its unpacked form ---- */

struct pv_kernel {
    char *boot_path; /* for QEMU: the unpacked vmlinux in the cache, or the file itself */
    char *release;   /* "6.1.0-56-cloud-amd64" (uname -r); NULL: a vmlinux without a version string */
    bool unpacked;   /* boot_path is the vmlinux of a bzImage */
    int fd;          /* the file at boot_path that was checked, for reading; 0: none */
};

/*
 * Checks the file: a bzImage (magic "HdrS", 64-bit) or an ELF64 x86-64 vmlinux with a PVH note; else class
 * usage, and the text describes the file (empty, ELF without PVH, gzip, text, arm64 Image ...).
 *
 * With `unpack`, a bzImage's payload (gzip, xz, zstd, lz4, lzma, bzip2, lzo) is unpacked once into
 * CACHE/kernels/HASH.vmlinux, which all processes share, and boot_path is that file if it has a PVH note.
 * boot_path is the bzImage itself when its payload does not unpack, has no PVH note, or there is no cache
 * directory; that is no error.  A damaged cached file (size, checksum) is made anew.
 */
int pv_kernel_open(const char *path, bool unpack, struct pv_kernel *k, struct pv_err *err);
void pv_kernel_fini(struct pv_kernel *k);

/* ---- modules.c: a module and its dependencies, in loading order ---- */

/*
 * The kernel's modules tree: `explicit_dir` when not NULL (class usage if it is no modules tree), else the
 * first that exists of: RELEASE/ around the kernel (usr/lib/modules/RELEASE/vmlinuz), RELEASE below modules,
 * lib/modules and usr/lib/modules beside it or (the latter two) one directory up, modules beside it,
 * /lib/modules/RELEASE, /usr/lib/modules/RELEASE.  A tree without indexes (an unpacked package) is indexed in the
 * cache, and that directory is returned.  NULL with err->cls == PV_E_NONE when there is no tree: `looked` (may be
 * NULL) then has the paths that were tried.  The caller frees.
 */
char *pv_modules_find(const char *explicit_dir, const char *kernel_path, const char *release,
                      struct pv_strv *looked, struct pv_err *err);
/* Whether the tree lists the drivers that are built in: then a driver that pv_modlist_add does not find is nowhere. */
bool pv_modules_know_builtin(const char *tree);

struct pv_modlist {
    struct pv_strv paths; /* absolute paths of .ko, .ko.gz, .ko.xz, .ko.zst; dependencies first, each once */
};

/*
 * Adds `name` and its dependencies, unless it is built in (modules.builtin) or listed.  Returns 0; 1 when the
 * tree has no such module and it is not built in; -1 on error (no modules.dep: the text has the depmod
 * command that makes it).
 */
int pv_modlist_add(struct pv_modlist *l, const char *tree, const char *name, struct pv_err *err);
void pv_modlist_fini(struct pv_modlist *l);
/* module-read.c: adds the module, decompressed, to out.  Class usage: it is none, or is damaged. */
int pv_module_read(const char *path, struct pv_buf *out, struct pv_err *err);

/* ---- suppl.c: the supplementary initramfs, which follows the profile's own archive ---- */

/* As the mode of an injected file: the host file's. */
#define PV_SUPPL_KEEP UINT32_MAX

struct pv_suppl_file {
    const char *guest_path; /* absolute */
    const char *host_path;  /* a file, or a directory with its content; NULL: a file of content */
    const void *content;
    size_t content_n;
    bool
        has_owner; /* of a file: mode (unless PV_SUPPL_KEEP), uid and gid are these; else the host's mode, root */
    uint32_t mode, uid, gid;
};

struct pv_suppl {
    const char *initrd;               /* the profile's archive, copied first; NULL: none */
    const struct pv_modlist *modules; /* the guest init loads these, in order */
    const struct pv_modlist
        *fs_modules;             /* one list for each entry of fs_types, loaded if the root needs it */
    const char *const *fs_types; /* "ext4", ... NULL-terminated; NULL: none */
    const char *rootfs_device;   /* "vda", or NULL */
    const char *root;            /* the profile's `root`, or NULL */
    const char *rootflags;       /* the profile's `rootflags`, or NULL */
    const char *share;           /* tag of the host's directory that is the root, or NULL */
    bool share_writable;         /* without an overlay */
    const char *share_type;      /* its file system, "9p" or "virtiofs"; NULL without a share */
    const char *work_share;      /* "TAG DIRECTORY": another one, with writes; or NULL */
    bool idle;                   /* guest init stays the guest's init */
    const char
        *switch_root; /* "yes", "no" or "auto": whether initrd switches to another root; NULL: it does not */
    const char *init_fallback; /* an init to try if the profile's fails, or NULL */
    const char *hostname;      /* for the built-in userland, which guest init sets up; NULL: another one */
    const char *serial;        /* name of the agent's virtio-serial port; NULL: it uses vsock */
    const struct pv_suppl_file *files; /* injected files */
    size_t n_files;
};

/*
 * Builds the whole initramfs in a new memfd (position 0, CLOEXEC; the caller's): the profile's archive,
 * copied by the kernel and not through this process, then the supplementary initramfs: the guest init
 * (embedded in this program), PV_BOOT_CONF, decompressed modules, injected files with their mode (owner
 * root), directories with their content (symlinks are kept, a device, fifo or socket is refused by name).
 * Without an initrd also /dev and /dev/console.  An explicitly injected path wins over the same path in an
 * injected directory.  *injected (unless NULL): bytes of the injected files, packed as they are.
 *
 * -1: class usage for an initrd that the kernel would not unpack, an injected host file that is missing or
 * unreadable, and a guest path that is not absolute or holds ".."; else class host.
 */
int pv_suppl_build(const struct pv_suppl *suppl, int *memfd, uint64_t *injected, struct pv_err *err);

/*
 * Checks the first bytes of an archive: newc cpio, plain or compressed with gzip, bzip2, lzma, xz, lzo, lz4
 * or zstd.  -1: class usage.
 */
int pv_initrd_check(const char *path, struct pv_err *err);

/*
 * A lower bound of what the archive has unpacked, in bytes: exact for plain archives, as its header says for zstd, else
 * its packed size.  0 for a file that cannot be read.
 */
uint64_t pv_initrd_unpacked(const char *path);

/* The embedded agent binary (agent-binary.S): guest init and agent in one static program. */
extern const unsigned char pv_agent_binary[];
extern const unsigned char pv_agent_binary_end[];

#endif

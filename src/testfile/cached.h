/* SPDX-License-Identifier: MIT */
/*
 * Cached boots.  The machine of a boot is saved at the moment of READY, as an entry of the fixture cache
 * (fixture/store.h) whose recipe has all that went into it: kernel, initrd, root image, modules, injected files, disks,
 * the profile's values, the options, QEMU, Provium.  A later boot that is asked for with the same is a resume of that
 * machine; clock, random pool and host name are as a resume of a fixture sets them.
 */
#ifndef PV_TESTFILE_CACHED_H
#define PV_TESTFILE_CACHED_H

struct pv_boot_opts;
struct pv_err;
struct pv_guest;
struct pv_testfile;

enum tf_boot_kind {
    TF_BOOT_PLAIN,   /* none but a plain boot was asked for */
    TF_BOOT_CACHED,  /* a resume */
    TF_BOOT_KEPT,    /* a boot, for the next one to resume from; `why`: no entry could be used */
    TF_BOOT_NOT_KEPT /* a boot; `why` it could not be kept */
};

struct tf_booted {
    enum tf_boot_kind kind;
    char *why; /* the caller frees; NULL for the first two kinds */
};

/*
 * pv_guest_boot, by the cache when the options or the profile say so (cached); o NULL: the last machine again, a plain
 * boot.  Blocks; 0 with *how, -1 with *err.
 */
int pv_tf_boot(struct pv_testfile *tf, struct pv_guest *g, const struct pv_boot_opts *o,
               struct tf_booted *how, struct pv_err *err);

/* A boot of g reads this file of the host. */
void pv_tf_cached_reads(struct pv_testfile *tf, const struct pv_guest *g, const char *path);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The saved state of a machine: its memory, its vmstate and the overlays of its disks, in files without a
 * name or in those of the fixture cache.  Any number of guests can be resumed from it independently: memory
 * is mapped copy-on-write (with `vsock` it is copied), disks get overlays.
 *
 * Only a guest on the transport "serial" can be saved: a vhost-user device can not be migrated.  The vsock
 * device of the boot option `vsock` is unplugged before a save, and plugged in again when the guest goes on.
 */
#ifndef PV_GUEST_SNAPSHOT_H
#define PV_GUEST_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_config;
struct pv_err;
struct pv_guest;
struct pv_guest_env;
struct pv_guest_nic;
struct pv_snapshot; /* counted */

/*
 * Saves a running guest, which goes on afterwards.  Its agent processes keep their descriptors, workers and
 * jobs, which no guest that is resumed from the snapshot has.  Blocks
 * (runs the loop) until timeout_ns (0: 30 s).  Errors: usage (transport, a disk that is written to directly),
 * timeout, guest-died, host.
 */
struct pv_snapshot *pv_guest_snapshot(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err);

/*
 * The same, and the guest ends with it (state "shut down"): its agent processes are ended first, so the
 * snapshot has none of them, and no memory is copied that need not be.  For the end of a fixture's script.
 */
struct pv_snapshot *pv_guest_save(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err);

struct pv_snapshot *pv_snapshot_ref(struct pv_snapshot *s);
void pv_snapshot_unref(struct pv_snapshot *s); /* NULL is fine */

/* ---- to and from the fixture cache ---- */

/*
 * The machine as a JSON object (the caller frees) for pv_snapshot_load.  Class usage: see pv_machine_to_json.
 */
char *pv_snapshot_machine(const struct pv_snapshot *s, struct pv_err *err);
/*
 * The saved files: "memory", "state", "disk0.0" (the lowest overlay in the backing chain of the first disk)
 * ..., "disk1.image" (the content of a served disk, with what was unflushed).  Descriptors stay the snapshot's.
 * fd -1: there is no file yet (a served disk, and the memory of a guest that was itself resumed);
 * pv_snapshot_write_file makes it.  The caller frees the array.
 */
struct pv_saved_file {
    char name[48];
    int fd;
};
void pv_snapshot_files(const struct pv_snapshot *s, struct pv_saved_file **files, size_t *n);
/*
 * Writes a file that is not there yet to an empty one.  The memory: what it was resumed from (sharing its blocks
 * where the file system can), then what has changed.  Class host, with the errno.
 */
int pv_snapshot_write_file(const struct pv_snapshot *s, const char *name, int fd, struct pv_err *err);
/*
 * From the cache: `machine` as above; file(name, arg) gives a descriptor that stays the caller's (it is
 * duplicated), or -1 for none.  The profile is looked up in config by its name.  Class host when the
 * description or a file is missing or malformed.
 */
struct pv_snapshot *pv_snapshot_load(const char *machine, int (*file)(const char *name, void *arg), void *arg,
                                     const struct pv_config *config, struct pv_err *err);

/* ---- resume ---- */

struct pv_resume_opts {
    int64_t timeout_ns; /* 0: 30 s */
    /*
     * Called while QEMU starts (40 ms of its own), before the guest runs, to verify a cache entry.  -1 with
     * *err ends the attempt.  May be NULL.
     */
    int (*check)(void *arg, struct pv_err *err);
    void *arg;
    const char *
        name; /* of the new guest (pv_guest_new_as); NULL, and of pv_guest_boot_from and _restore: none is set */
    /* PV_VM_NICS_MAX: the identities of a clone's NICs, by slot; NULL: those of the snapshot. */
    const struct pv_guest_nic *nics;
};

/*
 * A new guest, running, in exactly the state of the snapshot, but for: its wall clock (the host's, within
 * 100 ms), its random pool (reseeded), its agent (a new session).  The boot ID and the uptime are the
 * snapshot's. Blocks (runs the loop).  o may be NULL.
 */
struct pv_guest *pv_guest_resume(const struct pv_guest_env *env, struct pv_snapshot *s,
                                 const struct pv_resume_opts *o, struct pv_err *err);

/*
 * The same as the boot of a guest that was never booted or has ended, which g is.  On error it is dead, or as it was
 * (class usage).
 */
int pv_guest_boot_from(struct pv_guest *g, struct pv_snapshot *s, const struct pv_resume_opts *o,
                       struct pv_err *err);

/*
 * Puts a guest (running, dead, killed or shut down; not a worker) into the state of the snapshot, in place:
 * the handle stays, QEMU is a new one; workers' handles are over ("killed").  On error the guest is dead.
 */
int pv_guest_restore(struct pv_guest *g, struct pv_snapshot *s, const struct pv_resume_opts *o,
                     struct pv_err *err);

/* The NICs that it was saved with, by slot: PV_VM_NICS_MAX. */
const struct pv_guest_nic *pv_snapshot_nics(const struct pv_snapshot *s);
/* The memory and CPUs that a resume acquires from the pool; the profile's name. */
uint64_t pv_snapshot_memory(const struct pv_snapshot *s); /* bytes */
unsigned pv_snapshot_cpus(const struct pv_snapshot *s);
const char *pv_snapshot_profile(const struct pv_snapshot *s);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A disk whose content, volatile cache and faults are this process's: QEMU reaches it over NBD.
 *
 *     struct pv_disk_opts o = {.name = "data", .dir = tmp, .size = 256 << 20, .sector = 512};
 *     struct pv_disk *d = pv_disk_new(loop, &o, &err);
 *     int fd = pv_disk_connect(d, &err);             QEMU inherits fd as N:
 *     -blockdev driver=nbd,node-name=X,server.type=fd,server.str=N,cache.direct=on
 *
 * The disk has no thread; it works in callbacks of the loop.  The NBD peer is untrusted: a request that breaks
 * the protocol ends the connection, and a request outside of the disk gets EINVAL.  Functions for the host's
 * side block for file I/O only, and never run the loop.
 *
 * A write of the guest is volatile until a FLUSH comes, or the write itself had FUA.  A cache with more than
 * PV_DISK_CACHE bytes writes its oldest ones back by itself, as a real one does.
 *
 * All callbacks run from the loop and may call anything here but pv_disk_free.
 */
#ifndef PV_DISK_DISK_H
#define PV_DISK_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_disk;
struct pv_disk_image;
struct pv_err;
struct pv_loop;

enum {
    PV_DISK_NAME = 20,               /* most bytes of a name: virtio's serial number has so many */
    PV_DISK_MAX_TRANSFER = 32 << 20, /* most bytes of a read or write, which QEMU is told */
};
#define PV_DISK_CACHE (UINT64_C(1) << 30)
#define PV_DISK_SIZE_MAX (UINT64_C(1) << 46)

enum pv_disk_op { PV_DISK_READ, PV_DISK_WRITE, PV_DISK_FLUSH, PV_DISK_DISCARD, PV_DISK_ANY };

struct pv_disk_opts {
    const char *name;            /* for messages; copied */
    const char *dir;             /* directory of the unlinked files */
    uint64_t size;               /* bytes, rounded up to a sector; 0 with an image: the image's */
    unsigned sector;             /* 512 or 4096; 0: 512, or the image's */
    bool readonly;               /* for the guest */
    struct pv_disk_image *image; /* content to start with (borrowed, gets a reference); NULL: zeroes */
};

/* An empty disk, or a layer on an image.  NULL: class usage for bad options, else host. */
struct pv_disk *pv_disk_new(struct pv_loop *loop, const struct pv_disk_opts *o, struct pv_err *err);
/*
 * The disk in a file of the host.  format: "raw", or what QEMU knows ("qcow2"), which a
 * qemu-storage-daemon of this disk reads and writes; it dies with this process.  snapshot: the file is only read, and all writes are lost with the disk.  size and image of
 * `o` are not used.  NULL: class usage for a file that is no multiple of the sector, missing, or host.
 */
struct pv_disk *pv_disk_open_file(struct pv_loop *loop, const struct pv_disk_opts *o, const char *path,
                                  const char *format, bool snapshot, struct pv_err *err);
/* In a file of the host, everything written is there.  NULL is fine. */
void pv_disk_free(struct pv_disk *d);
/*
 * Replaces what is on the disk by an image, in a new layer.  What the guest has cached does not change.  Class usage
 * for an image of another size or sector, and for a disk that is being recorded.
 */
int pv_disk_set(struct pv_disk *d, const struct pv_disk_image *i, struct pv_err *err);

/* Serves QEMU on a socket, whose other end it returns for QEMU to inherit, or -1; an earlier connection ends. */
int pv_disk_connect(struct pv_disk *d, struct pv_err *err);
/* Ends the connection, as when QEMU is gone; requests that wait are not carried out.  None is fine. */
void pv_disk_disconnect(struct pv_disk *d);

const char *pv_disk_name(const struct pv_disk *d);
uint64_t pv_disk_size(const struct pv_disk *d);
unsigned pv_disk_sector(const struct pv_disk *d);

/* Reads as the guest would, at any byte.  -1: class usage for a range outside of the disk, else host. */
int pv_disk_read(struct pv_disk *d, uint64_t offset, void *to, size_t n, struct pv_err *err);
/* Durable at once, at any byte. */
int pv_disk_write(struct pv_disk *d, uint64_t offset, const void *data, size_t n, struct pv_err *err);
/* Makes all writes durable: also for a VM that was killed or has shut down, whose writes all arrive. */
void pv_disk_flush(struct pv_disk *d);
/* Bytes of all writes, discards and write-zeroes that a power cut may lose. */
uint64_t pv_disk_unflushed(const struct pv_disk *d);
/* Writes what the guest would read into a new sparse raw file; replaces an existing one. */
int pv_disk_save(struct pv_disk *d, const char *path, struct pv_err *err);

struct pv_disk_stats {
    uint64_t requests[PV_DISK_ANY]; /* of the guest, by op; write-zeroes count as writes */
    uint64_t bytes[PV_DISK_ANY];
};

void pv_disk_stats(const struct pv_disk *d, struct pv_disk_stats *s);

/*
 * Brackets a time in which flushes are QEMU's own: set it before `stop`, snapshot or migration, clear it before
 * `cont`.  Such flushes succeed and flush nothing.  Requests that have reached this process before are handled as
 * the guest's.
 *
 * QEMU does not pass on a flush when its node had no write since the last one (or since it started).  So a guest
 * whose unflushed writes are older than the bracket could not flush them.  Within the bracket, when
 * pv_disk_unflushed() is not 0, pass one discard of QEMU's own through the node before `cont`: after
 * pv_disk_swallow(d), the next discard of exactly the first sector is not carried out, and counts nowhere:
 *
 *     pv_disk_swallow(d);
 *     human-monitor-command: qemu-io NODE "discard 0 512"       (the sector's size)
 */
void pv_disk_guest_stopped(struct pv_disk *d, bool stopped);
void pv_disk_swallow(struct pv_disk *d);

/* ---- power cuts ---- */

enum pv_disk_keep { PV_DISK_KEEP_NONE, PV_DISK_KEEP_ALL, PV_DISK_KEEP_RANDOM };

/*
 * Of the unflushed writes of all disks, none, all or a random part arrive, sectors of one write singly with
 * `torn`; the choice depends on the seed and the lists of unflushed writes alone.  Ends the connections first.
 * The caller has killed QEMU, or kills it at once.  Afterwards nothing is unflushed.
 */
int pv_disk_power_cut(struct pv_disk *const *disks, size_t n, enum pv_disk_keep keep, bool torn,
                      uint64_t seed, struct pv_err *err);
/*
 * Calls fn from the loop when the guest's request number after + 1 of this kind comes, before it is carried out.
 * From then on the disk carries out nothing until pv_disk_connect or pv_disk_release.  All disks that are cut
 * together have to be held by fn: pv_disk_hold.  One trigger for each disk; fn == NULL removes it.
 */
void pv_disk_trigger(struct pv_disk *d, enum pv_disk_op op, uint64_t after,
                     void (*fn)(struct pv_disk *d, void *arg), void *arg);
void pv_disk_hold(struct pv_disk *d);
void pv_disk_release(struct pv_disk *d);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * QEMU's own `snapshot=on` makes a named file and unlinks it some 10 ms later: a QEMU that is killed in
 * between leaves it behind (46 of 300 that were killed within their first 60 ms did).  So Provium makes the
 * overlay.
 *
 * An empty qcow2 image (docs/interop/qcow2.txt in QEMU's sources; all numbers are big-endian), by clusters of
 * 64 KiB:
 *
 *     0     header, version 3, without a backing file (the command line names it)
 *     1     refcount table, one entry
 *     2     refcount block: 16-bit counts of the clusters in use
 *     3...  L1 table, all zero; each entry stands for 512 MiB
 */
#include "vm/overlay.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/copy.h"
#include "util/err.h"
#include "util/path.h"
#include "vm/spec.h"

#define CLUSTER_BITS 16
#define CLUSTER (UINT64_C(1) << CLUSTER_BITS)
#define L1_SPAN (CLUSTER * (CLUSTER / 8)) /* bytes that one L1 entry stands for */
#define SIZE_MAX_BYTES (UINT64_C(1) << 50)

enum { FIXED_CLUSTERS = 3 };

struct header {
    uint32_t magic, version;
    uint64_t backing_file_offset;
    uint32_t backing_file_size, cluster_bits;
    uint64_t size;
    uint32_t crypt_method, l1_size;
    uint64_t l1_table_offset, refcount_table_offset;
    uint32_t refcount_table_clusters, nb_snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order, header_length;
    uint32_t end_extension[2];
} __attribute__((packed));
_Static_assert(sizeof(struct header) == 104 + 8, "qcow2 header of version 3 and the end of its extensions");

/* The size of a raw or qcow2 image as the guest sees it, a multiple of 512. */
static int disk_size(const struct pv_vm_disk *disk, uint64_t *size, struct pv_err *err)
{
    cleanup_close int fd = open(disk->path, O_RDONLY | O_CLOEXEC);
    struct header h = {0};
    off_t end;

    if (fd < 0)
        return pv_err_set(err, PV_E_USAGE, "cannot open disk '%s': %s", disk->path, strerror(errno));
    if (!strcmp(disk->format, "qcow2")) {
        if (pv_pread_all(fd, &h, 72, 0) != 72 || be32toh(h.magic) != 0x514649fb) /* "QFI\xfb" */
            return pv_err_set(err, PV_E_USAGE, "disk '%s' is no qcow2 image", disk->path);
        *size = be64toh(h.size);
    } else {
        end = lseek(fd, 0, SEEK_END); /* of a block device too */
        if (end < 0)
            return pv_err_set(err, PV_E_USAGE, "cannot tell the size of disk '%s': %s", disk->path,
                              strerror(errno));
        *size = (uint64_t)end;
    }
    if (*size > SIZE_MAX_BYTES)
        return pv_err_set(err, PV_E_USAGE, "disk '%s' is larger than 1024 TiB", disk->path);
    *size = (*size + 511) & ~UINT64_C(511);
    return 0;
}

static int qcow2_write_empty(int fd, uint64_t size)
{
    uint64_t l1_entries = (size + L1_SPAN - 1) / L1_SPAN, table = htobe64(2 * CLUSTER);
    uint64_t l1_clusters = (l1_entries * 8 + CLUSTER - 1) / CLUSTER;
    uint64_t used = FIXED_CLUSTERS + (l1_clusters ? l1_clusters : 1);
    struct header h = {
        .magic = htobe32(0x514649fb),
        .version = htobe32(3),
        .cluster_bits = htobe32(CLUSTER_BITS),
        .size = htobe64(size),
        .l1_size = htobe32((uint32_t)l1_entries),
        .l1_table_offset = htobe64(FIXED_CLUSTERS * CLUSTER),
        .refcount_table_offset = htobe64(CLUSTER),
        .refcount_table_clusters = htobe32(1),
        .refcount_order = htobe32(4), /* 2^4 bits */
        .header_length = htobe32(104),
    };

    if (ftruncate(fd, (off_t)(used * CLUSTER)) < 0 || pv_pwrite_all(fd, &h, sizeof(h), 0) < 0 ||
        pv_pwrite_all(fd, &table, sizeof(table), CLUSTER) < 0)
        return -1;
    for (uint64_t i = 0; i < used; i++) {
        uint16_t one = htobe16(1);

        if (pv_pwrite_all(fd, &one, sizeof(one), (off_t)(2 * CLUSTER + i * sizeof(one))) < 0)
            return -1;
    }
    return 0;
}

static int overlay_fail(const struct pv_vm_disk *disk, struct pv_err *err)
{
    pv_err_sys(err, errno, "cannot write the overlay of disk '%s' in '%s'", disk->path, pv_temp_dir());
    pv_err_append(err, "; set TMPDIR to a directory with more space");
    return -1;
}

int pv_overlay_open(const struct pv_vm_disk *disk, struct pv_err *err)
{
    uint64_t size = 0;
    int fd, r = 0;

    if (!disk->copy_top && disk_size(disk, &size, err) < 0)
        return -1;
    fd = pv_temp_file_open(err);
    if (fd < 0)
        return -1;
    if (disk->copy_top)
        r = pv_copy_sparse(disk->top_fd, fd, err);
    else if (qcow2_write_empty(fd, size) < 0)
        r = overlay_fail(disk, err);
    if (r < 0)
        pv_close(&fd);
    return fd;
}

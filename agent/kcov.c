/* SPDX-License-Identifier: MIT */
#include "kcov.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcov.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "high-fd.h"
#include "reply.h"
#include "util.h"

#define DEBUGFS "/sys/kernel/debug"

enum { AREA = 256 * 1024 }; /* words; the kernel drops what does not fit */

/* Mounts debugfs where nothing is mounted: what the user has mounted there stays visible. */
static bool debugfs_mount(void)
{
    struct stat at, above;

    return stat(DEBUGFS, &at) == 0 && stat(DEBUGFS "/..", &above) == 0 && at.st_dev == above.st_dev &&
           mount("debugfs", DEBUGFS, "debugfs", 0, NULL) == 0;
}

void ag_kcov_open(const struct ag_session *s, struct ag_kcov *k)
{
    const int flags = O_RDWR | O_CLOEXEC;

    *k = AG_KCOV_NONE;
    if (!s->w.in_guest)
        return;
    k->fd = open(DEBUGFS "/kcov", flags);
    if (k->fd < 0 && errno == ENOENT && debugfs_mount())
        k->fd = open(DEBUGFS "/kcov", flags);
    if (k->fd < 0)
        return;
    k->fd = ag_high_fd(k->fd);
    if (k->fd >= 0 && ioctl(k->fd, KCOV_INIT_TRACE, (unsigned long)AREA) == 0) {
        k->area = mmap(NULL, AREA * sizeof(*k->area), PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
        if (k->area != MAP_FAILED)
            return;
        k->area = NULL;
    }
    ag_kcov_close(k);
}

void ag_kcov_close(struct ag_kcov *k)
{
    if (k->area)
        munmap(k->area, AREA * sizeof(*k->area));
    k->area = NULL;
    ag_close(&k->fd);
}

void ag_kcov_enable(int fd)
{
    if (fd >= 0)
        ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC);
}

void ag_kcov_disable(int fd)
{
    if (fd >= 0)
        ioctl(fd, KCOV_DISABLE, 0);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Sorts the addresses and drops those that are there twice; how many are left. */
static size_t unique(uint64_t *pc, size_t n)
{
    size_t kept = 0;

    qsort(pc, n, sizeof(*pc), compare);
    for (size_t i = 0; i < n; i++)
        if (!kept || pc[i] != pc[kept - 1])
            pc[kept++] = pc[i];
    return kept;
}

void ag_kcov_reply(struct ag_session *s, uint32_t id, struct ag_kcov *k)
{
    size_t n = k->area ? (size_t)__atomic_load_n(k->area, __ATOMIC_ACQUIRE) : 0;
    bool full = n >= AREA - 1;

    if (n > AREA - 1)
        n = AREA - 1;
    n = n ? unique(k->area + 1, n) : 0;
    if (n > AG_KCOV_PCS) {
        n = AG_KCOV_PCS;
        full = true;
    }
    if (n) {
        struct pv_enc e = ag_frame_begin(s, PV_MSG_COVERAGE, AG_KCOV_PCS * 8 + 64);

        pv_enc_u32(&e, id);
        pv_enc_u32(&e, full);
        pv_enc_bytes(&e, k->area + 1, n * 8); /* little-endian, as the machine is */
        ag_frame_end(s, &e);
    }
    ag_kcov_close(k);
}

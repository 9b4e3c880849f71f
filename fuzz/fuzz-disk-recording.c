/* SPDX-License-Identifier: MIT */
/*
 * A saved recording with any content.  The input is the file; the second try has the checksum that its header
 * should have, so that what is behind it is reached.  What loads is iterated and saved again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk/rec.h"
#include "disk/recording.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(struct pv_disk_recording *r)
{
    struct pv_states_opts o = {.at_write = true, .samples = 3, .torn = true, .seed = 1};
    struct pv_states *s;
    struct pv_state *st;
    char sector[512];
    struct pv_buf text = {0};

    for (size_t i = 0; i < pv_disk_recording_disks(r); i++)
        if (r->disks[i].size > 1 << 20)
            return;
    s = pv_states_new(r, &o, NULL);
    for (unsigned n = 0; s && n < 50 && (st = pv_states_next(s, NULL)); n++) {
        pv_state_describe(st, &text);
        if (pv_state_read(st, 0, 0, sector, sizeof(sector), NULL) < 0)
            abort();
        for (size_t i = 0; i < pv_state_marks(st); i++)
            if (!pv_state_mark(st, i))
                abort();
        pv_state_unref(st);
    }
    pv_buf_free(&text);
    pv_states_free(s);
}

static void try_file(const void *data, size_t size)
{
    int fd = memfd_create("recording", MFD_CLOEXEC);
    cleanup_free char *path = pv_xasprintf("/proc/self/fd/%d", fd);
    struct pv_disk_recording *r;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    r = pv_disk_recording_load(path, "/tmp", NULL);
    if (r)
        use(r);
    pv_disk_recording_unref(r);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;

    if (size > 1 << 20)
        return 0;
    try_file(data, size);
    copy = pv_xmalloc(size + 1);
    if (size)
        memcpy(copy, data, size);
    if (pv_disk_recording_fix_hash(copy, size))
        try_file(copy, size);
    free(copy);
    return 0;
}

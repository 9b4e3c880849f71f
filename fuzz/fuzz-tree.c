/* SPDX-License-Identifier: MIT */
/*
 * The guest's frames of a pull, on a real directory.  Input: records of {u8 operation, u8 length, bytes}.
 * Nothing may appear beside the destination.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/tree.h"
#include "util/err.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS_MAX = 64, SIZE_MAX_BYTES = 1 << 20, ENTRIES_MAX = 32 };

static char base[64];

static void base_make(void)
{
    snprintf(base, sizeof(base), "/tmp/provium-fuzz-tree.XXXXXX");
    if (!mkdtemp(base))
        abort();
}

static void tree_remove(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d;

    if (fd < 0 && (fchmodat(at, name, 0700, 0) < 0 ||
                   (fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)) {
        unlinkat(at, name, 0);
        return;
    }
    fchmod(fd, 0700);
    d = fdopendir(fd);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            tree_remove(dirfd(d), e->d_name);
    closedir(d);
    unlinkat(at, name, AT_REMOVEDIR);
}

static int record_apply(struct pv_dest *d, unsigned op, const char *text, size_t n, struct pv_err *err)
{
    const char *target = text + strlen(text) < text + n ? text + strlen(text) + 1 : "";

    switch (op % 5) {
    case 0:
        return pv_dest_entry(d, op / 5 % 5, (uint32_t)op << 4 & 07777, text, target, err);
    case 1:
        return pv_dest_data(d, text, n, err);
    case 2:
        return pv_dest_hole(d, (uint64_t)n << (op / 5), err);
    case 3:
        return pv_dest_skipped(d, text, err);
    }
    return pv_dest_entry(d, PV_ENTRY_DIR, 0755, text, "", err);
}

/* Only "out" may be in the base directory. */
static void base_check(void)
{
    DIR *d = opendir(base);

    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, "out") != 0)
            abort();
    closedir(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_dest d;
    struct pv_err err = PV_ERR_INIT;
    char out[80], text[256];
    int r = 0;

    base_make();
    snprintf(out, sizeof(out), "%s/out", base);
    pv_dest_init(&d, out, ENTRIES_MAX, SIZE_MAX_BYTES);
    for (int i = 0; r == 0 && size >= 2 && i < RECORDS_MAX; i++) {
        size_t n = data[1] < size - 2 ? data[1] : size - 2;

        memcpy(text, data + 2, n);
        text[n] = '\0';
        r = record_apply(&d, data[0], text, n, &err);
        data += 2 + n;
        size -= 2 + n;
    }
    if (r == 0)
        r = pv_dest_end(&d, &err);
    if (r < 0 && !err.text[0])
        abort();
    pv_dest_fini(&d);
    base_check();
    tree_remove(AT_FDCWD, base);
    return 0;
}

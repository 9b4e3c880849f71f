/* SPDX-License-Identifier: MIT */
/* The first bytes of a disk that a guest could write. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/superblock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Input: a u32 offset of the bytes that follow it, so that a seed for a superblock far inside is small. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);
    struct ag_super sb;
    uint32_t at;

    if (fd < 0)
        abort();
    if (size > sizeof(at)) {
        memcpy(&at, data, sizeof(at));
        if (pwrite(fd, data + sizeof(at), size - sizeof(at), at % (128 * 1024)) < 0)
            abort();
    }
    if (ag_super_probe(fd, &sb) &&
        (!memchr(sb.type, '\0', sizeof(sb.type)) || !memchr(sb.label, '\0', sizeof(sb.label)) ||
         !memchr(sb.uuid, '\0', sizeof(sb.uuid))))
        abort();
    close(fd);
    return 0;
}

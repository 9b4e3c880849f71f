/* SPDX-License-Identifier: MIT */
/*
 * QEMU's side of a disk's NBD connection: any bytes after the greeting, in pieces of a length that the first byte of
 * each chooses; bit 7: the disk hangs meanwhile.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/disk.h"
#include "disk/rule.h"
#include "loop/loop.h"
#include "util/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_loop *loop;
    struct pv_disk_opts o = {.name = "fuzz", .dir = "/tmp", .size = 1 << 20};
    struct pv_disk *d;
    char reply[4096];
    int fd;

    if (!loop)
        loop = pv_loop_new(NULL);
    d = pv_disk_new(loop, &o, NULL);
    fd = loop && d ? pv_disk_connect(d, NULL) : -1;
    if (fd < 0)
        abort();
    while (size) {
        size_t n = (size_t)(data[0] & 127) + 1;

        if (data[0] & 128)
            pv_disk_hang(d);
        else
            pv_disk_unhang(d);
        n = n < size - 1 ? n : size - 1;
        if (send(fd, data + 1, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        data += 1 + n;
        size -= 1 + n;
        for (int i = 0; i < 3; i++)
            pv_loop_run(loop, NULL, NULL, pv_now(), NULL);
        while (recv(fd, reply, sizeof(reply), MSG_DONTWAIT) > 0)
            ;
    }
    if (pv_disk_size(d) != 1 << 20 || pv_disk_unflushed(d) > PV_DISK_CACHE)
        abort();
    close(fd);
    pv_loop_run(loop, NULL, NULL, pv_now(), NULL);
    pv_disk_free(d);
    return 0;
}

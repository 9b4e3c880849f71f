/* SPDX-License-Identifier: MIT */
/*
 * QEMU's side of the vhost-user socket.  Input: pieces, each u8 descriptors (low 4 bits: number; bit 4: guest
 * memory, else eventfds), u16 little-endian length, bytes.  The back end reads after each piece.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost/vu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_ring(struct pv_vu *vu, unsigned index, bool running)
{
    if (index >= PV_VU_QUEUES || vu->q[index].kick < 0 || !running != !vu->q[index].running)
        if (running)
            abort();
}

static void send_piece(int sock, int fd, unsigned n_fds, const uint8_t *p, size_t n)
{
    char space[CMSG_SPACE(sizeof(int) * 16)] = {0};
    struct iovec iov = {.iov_base = (void *)p, .iov_len = n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds) {
        struct cmsghdr *c = (struct cmsghdr *)(void *)space;

        m.msg_control = space;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        for (unsigned i = 0; i < n_fds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
    }
    sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Pops and pushes chains of the running rings, as the device does. */
static void use_rings(struct pv_vu *vu)
{
    static struct pv_vchain c;

    for (unsigned i = 0; i < PV_VU_QUEUES; i++) {
        const char *why;

        if (!vu->q[i].running)
            continue;
        for (unsigned n = 0; n < 64 && pv_vring_pop(&vu->q[i].ring, &vu->mem, i == 0, &c, &why) > 0; n++)
            pv_vring_push(&vu->q[i].ring, c.head, 0);
        pv_vring_publish(&vu->q[i].ring);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int memory = -1, event = -1;
    struct pv_vu vu;
    int sv[2], r = 0;

    if (memory < 0) {
        memory = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (ftruncate(memory, 1 << 20) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
            abort();
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
        abort();
    pv_vu_init(&vu, sv[0]);
    vu.on_ring = on_ring;
    while (size >= 3 && r >= 0) {
        unsigned n_fds = data[0] & 15;
        size_t n = (size_t)(data[1] | data[2] << 8);
        char answer[1024];

        if (n > size - 3)
            n = size - 3;
        send_piece(sv[1], data[0] & 16 ? memory : event, n_fds, data + 3, n);
        data += 3 + n;
        size -= 3 + n;
        while ((r = pv_vu_read(&vu)) > 0)
            ;
        if (r < 0 && !vu.error[0])
            abort();
        if (r >= 0)
            use_rings(&vu);
        while (recv(sv[1], answer, sizeof(answer), MSG_DONTWAIT) > 0)
            ;
    }
    close(sv[1]);
    if (r >= 0 && pv_vu_read(&vu) >= 0)
        abort(); /* EOF must be an error */
    pv_vu_fini(&vu);
    return 0;
}

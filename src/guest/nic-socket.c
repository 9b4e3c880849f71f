/* SPDX-License-Identifier: MIT */
/* The sockets between the NICs of one instance and their wires. */
#include <errno.h>
#include <sys/socket.h>

#include "guest/machine.h"
#include "guest/nics.h"
#include "util/err.h"
#include "util/mem.h"

enum { SOCKET_BUFFER = 4 << 20 };

void pv_nic_sockets_init(struct pv_nic_sockets *s)
{
    for (int i = 0; i < PV_VM_NICS_MAX; i++) {
        s->fd[i] = -1;
        s->wire[i] = NULL;
    }
}

/* The host's limit may be lower: then bursts wait in the guest. */
int pv_nic_pair(int *ours, int *theirs, struct pv_err *err)
{
    int fds[2], size = SOCKET_BUFFER;

    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return pv_err_sys(err, errno, "cannot make the socket of a NIC");
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    *ours = fds[0];
    *theirs = fds[1];
    return 0;
}

int pv_nic_sockets_open(struct pv_nic_sockets *s, const struct pv_machine *m, int to[static PV_VM_NICS_MAX],
                        struct pv_err *err)
{
    for (int i = 0; i < PV_VM_NICS_MAX; i++)
        to[i] = -1;
    for (int i = 0; i < PV_VM_NICS_MAX; i++)
        if (m->nics[i].mtu && pv_nic_pair(&s->fd[i], &to[i], err) < 0)
            return -1;
    return 0;
}

void pv_nic_ends_close(int ends[static PV_VM_NICS_MAX])
{
    for (int i = 0; i < PV_VM_NICS_MAX; i++)
        pv_close(&ends[i]);
}

void pv_nic_sockets_cut(struct pv_nic_sockets *s, unsigned slot)
{
    struct pv_nic_wire *w = s->wire[slot];

    pv_close(&s->fd[slot]);
    s->wire[slot] = NULL;
    if (w)
        w->attach(w, -1);
}

void pv_nic_sockets_close(struct pv_nic_sockets *s)
{
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++)
        pv_nic_sockets_cut(s, i);
}

/* Frames of another network life: a copy's, before it had its own identity. */
static void frames_drop(int fd)
{
    char frame[16];

    while (recv(fd, frame, sizeof(frame), MSG_DONTWAIT | MSG_TRUNC) >= 0)
        ;
}

void pv_nic_sockets_attach(struct pv_nic_sockets *s, unsigned slot, const struct pv_guest_nic *nic, bool drop)
{
    if (s->fd[slot] < 0)
        return;
    if (drop)
        frames_drop(s->fd[slot]);
    s->wire[slot] = nic->wire;
    nic->wire->attach(nic->wire, pv_steal_fd(&s->fd[slot]));
    if (nic->wire->carrier)
        nic->wire->carrier(nic->wire, !nic->down);
}

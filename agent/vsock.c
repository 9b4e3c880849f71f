/* SPDX-License-Identifier: MIT */
#include "vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

/*
 * 1 MiB in place of 256 KiB before the host has to wait for credit.  The maximum caps the size: set it
 * first.
 */
static void set_buffers(int fd)
{
    static const int options[] = {SO_VM_SOCKETS_BUFFER_MAX_SIZE, SO_VM_SOCKETS_BUFFER_SIZE};
    const uint64_t size = 1 << 20;

    for (size_t i = 0; i < 2; i++)
        setsockopt(fd, AF_VSOCK, options[i], &size, sizeof(size));
}

int ag_vsock_listen(uint32_t *port, int backlog)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK, .svm_port = *port ? *port : VMADDR_PORT_ANY, .svm_cid = VMADDR_CID_ANY};
    socklen_t n = sizeof(addr);
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    set_buffers(fd);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, backlog) == 0 &&
        getsockname(fd, (struct sockaddr *)&addr, &n) == 0) {
        *port = addr.svm_port;
        return fd;
    }
    int e = errno;

    close(fd);
    errno = e;
    return -1;
}

int ag_vsock_accept(int listen_fd)
{
    struct sockaddr_vm from = {0};
    socklen_t n = sizeof(from);
    int fd = accept4(listen_fd, (struct sockaddr *)&from, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0 || from.svm_cid == VMADDR_CID_HOST || from.svm_cid == VMADDR_CID_LOCAL)
        return fd;
    close(fd);
    errno = ECONNABORTED;
    return -1;
}

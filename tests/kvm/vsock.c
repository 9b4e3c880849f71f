/* SPDX-License-Identifier: MIT */
/*
 * For tests/kvm/vhost.lua, on the host and in guests:
 *
 *     vsock cid              prints the machine's own CID
 *     vsock dial CID PORT    connects and prints "answered" if a byte comes, "closed" if none does, or why it cannot connect
 *     vsock hold CID         sets the CID on a /dev/vhost-vsock of its own, prints "held" or why not, and waits
 *     vsock as UID COMMAND...
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/vhost.h>
#include <linux/vm_sockets.h>

static int say(int r, const char *good)
{
    puts(r < 0 ? strerror(errno) : good);
    fflush(stdout);
    return r < 0;
}

static int print_cid(void)
{
    int fd = open("/dev/vsock", O_RDONLY);
    unsigned cid = 0;
    char text[16];
    int r = ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid);

    snprintf(text, sizeof(text), "%u", cid);
    return say(r, text);
}

static int dial(const char *cid, const char *port)
{
    struct sockaddr_vm to = {.svm_family = AF_VSOCK,
                             .svm_cid = (unsigned)strtoul(cid, NULL, 10),
                             .svm_port = (unsigned)strtoul(port, NULL, 10)};
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

    struct timeval limit = {.tv_sec = 10};
    char c;

    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        return say(-1, "");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return say(0, recv(fd, &c, 1, 0) == 1 ? "answered" : "closed");
}

static int hold(const char *text)
{
    uint64_t cid = strtoull(text, NULL, 10);
    int fd = open("/dev/vhost-vsock", O_RDWR);

    if (say(ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid), "held"))
        return 1;
    pause();
    return 0;
}

static int run_as(char **args)
{
    unsigned id = (unsigned)strtoul(args[0], NULL, 10);

    if (setgroups(0, NULL) < 0 || setgid(id) < 0 || setuid(id) < 0)
        return say(-1, "");
    execvp(args[1], args + 1);
    return say(-1, "");
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (!strcmp(what, "cid"))
        return print_cid();
    if (!strcmp(what, "dial") && argc == 4)
        return dial(argv[2], argv[3]);
    if (!strcmp(what, "hold") && argc == 3)
        return hold(argv[2]);
    if (!strcmp(what, "as") && argc > 3)
        return run_as(argv + 2);
    fputs("usage: vsock cid|dial CID PORT|hold CID|as UID COMMAND...\n", stderr);
    return 2;
}

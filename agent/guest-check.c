/* SPDX-License-Identifier: MIT */
/*
 * Runs inside a guest, where vsock_loopback is loaded: drives the agent that listens there over AF_VSOCK, and
 * prints what it saw.  For the boot tests.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "client.h"

static void run(struct client *c, uint32_t id, uint64_t timeout_ms, const char *cmd)
{
    struct cl_answer a;

    cl_sh(c, id, 0, timeout_ms, cmd);
    cl_answer(c, id, NULL, 0, 60000, &a);
    printf("CHECK exec [%s]: type %#x errno %u (%s) code %u flags %u %llu us\n%.*s%.*s", cmd, a.type,
           a.errnum, a.text, a.code, a.flags, (unsigned long long)a.duration / 1000, (int)a.data[1].n,
           (const char *)a.data[1].p, (int)a.data[2].n, (const char *)a.data[2].p);
    cl_answer_free(&a);
}

int main(int argc, char **argv)
{
    const struct sockaddr_vm to = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = PV_AGENT_PORT};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct client c;
    struct cl_answer a;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
        perror("CHECK connect");
        return 1;
    }
    cl_adopt(&c, fd);
    if (cl_recv(&c, 5000) != 1 || c.type != PV_MSG_READY) {
        printf("CHECK no READY (type %#x)\n", c.type);
        return 1;
    }
    printf("CHECK READY\n");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-vfs") == 0 || strcmp(argv[i], "-off") == 0) {
            uint8_t buf[64];
            struct pv_enc e = {.p = buf, .cap = sizeof(buf)};
            bool off = argv[i][1] == 'o';

            pv_enc_begin(&e, off ? PV_MSG_SHUTDOWN : PV_MSG_MOUNT_VFS);
            pv_enc_u32(&e, (uint32_t)i);
            if (off)
                pv_enc_u32(&e, PV_SHUTDOWN_POWEROFF);
            cl_send(&c, &e);
            cl_answer(&c, (uint32_t)i, NULL, 0, 20000, &a);
            printf("CHECK %s: type %#x errno %u %s\n", argv[i], a.type, a.errnum, a.text);
            if (off)
                pause();
            continue;
        }
        run(&c, (uint32_t)i, strncmp(argv[i], "T:", 2) == 0 ? 1000 : 0,
            argv[i] + (strncmp(argv[i], "T:", 2) == 0 ? 2 : 0));
    }
    printf("CHECK done\n");
    return 0;
}

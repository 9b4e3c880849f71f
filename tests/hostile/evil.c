/* SPDX-License-Identifier: MIT */
/*
 * Runs in the guest: kills the real agent, listens on its vsock port and sends each connection bytes that no
 * agent sends.
 *
 *     evil garbage|half|huge|silent|close|flood|early
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

enum { PORT = 5123 };

static void end_agents(void)
{
    DIR *d = opendir("/proc");
    struct dirent *e;

    while (d && (e = readdir(d))) {
        char path[300], comm[32] = "";
        FILE *f;
        int pid = atoi(e->d_name);

        if (pid <= 1 || pid == getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/%d/comm", pid);
        f = fopen(path, "r");
        if (f && fgets(comm, sizeof(comm), f) && strstr(comm, "provium"))
            kill(pid, SIGKILL);
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
}

static void send_bytes(int fd, const void *bytes, size_t n)
{
    if (send(fd, bytes, n, MSG_NOSIGNAL) < 0)
        return;
}

/* READY: type 0x80, length, magic "PVM1", version 1, pid 1, release "evil". */
static const unsigned char ready[] = {0x80, 20, 0, 0, 0, 'P', 'V', 'M', '1', 1,   0,   0,  0,
                                      1,    0,  0, 0, 4, 0,   0,   0,   'e', 'v', 'i', 'l'};

static void serve_conn(int fd, const char *mode)
{
    static char chunk[65536];

    if (!strcmp(mode, "garbage")) {
        send_bytes(fd, "GET / HTTP/1.0\r\n\r\n", 18);
    } else if (!strcmp(mode, "half")) {
        send_bytes(fd, ready, sizeof(ready) - 7);
        return; /* the caller closes the connection */
    } else if (!strcmp(mode, "huge")) {
        send_bytes(fd, "\x80\xff\xff\xff\xff", 5);
    } else if (!strcmp(mode, "early")) {
        send_bytes(fd, "\x82\x0c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 17);
    } else if (!strcmp(mode, "close")) {
        return;
    } else if (!strcmp(mode, "flood")) {
        /* A valid READY, then endless replies to a request that the host never made. */
        send_bytes(fd, ready, sizeof(ready));
        for (size_t i = 0; i + 13 <= sizeof(chunk); i += 13)
            memcpy(chunk + i, "\x85\x08\x00\x00\x00\x99\x99\x00\x00\x00\x00\x00\x00", 13);
        while (send(fd, chunk, sizeof(chunk) / 13 * 13, MSG_NOSIGNAL) > 0)
            ;
        return;
    }
    while (read(fd, chunk, sizeof(chunk)) > 0) /* mode silent, and the end of the other modes */
        ;
}

int main(int argc, char **argv)
{
    struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = PORT};
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

    if (argc != 2 || fd < 0)
        return 2;
    signal(SIGCHLD, SIG_IGN);
    mount("proc", "/proc", "proc", 0, NULL);
    /* The command that started this program must exit first: the agent does not kill its children then. */
    if (fork() > 0)
        return 0;
    setsid();
    sleep(1);
    for (int tries = 0; tries < 200; tries++) {
        end_agents();
        if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
            break;
        usleep(20000);
    }
    if (listen(fd, 16) < 0)
        return 3;
    for (;;) {
        int c = accept(fd, NULL, NULL);

        if (c < 0)
            return 4;
        if (fork() == 0) {
            serve_conn(c, argv[1]);
            _exit(0);
        }
        close(c);
    }
}

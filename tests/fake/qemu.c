/* SPDX-License-Identifier: MIT */
#include "tests/fake/qemu.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The harness looks in /proc for the pages of a private mapping that have changed. */
static void memory_map(void)
{
    struct stat st;

    if (fstat(FD_MEMORY, &st) == 0 && st.st_size > 0 &&
        mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, FD_MEMORY, 0) ==
            MAP_FAILED)
        abort();
}

static void console_read(void)
{
    char buf[4096];

    if (recv(FD_CONSOLE_IN, buf, sizeof(buf), MSG_DONTWAIT) == 0)
        close(FD_CONSOLE_IN);
}

int main(int argc, char **argv)
{
    static void (*const readers[])(void) = {monitor_read, console_read, guest_read};
    bool incoming = false;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--version")) {
            puts("QEMU emulator version 9.9.9");
            return 0;
        }
        if (!strcmp(argv[i], "memory-backend-file,help")) {
            puts("memory-backend-file options:\n  rom=<OnOffAuto>");
            return 0;
        }
        incoming |= !strcmp(argv[i], "-incoming");
        if (!strcmp(argv[i], "-fake") && i + 1 < argc)
            fault_open(argv[i + 1]);
    }
    signal(SIGPIPE, SIG_IGN);
    machine_runs = !incoming;
    if (incoming)
        memory_map();
    monitor_greet();
    if (machine_runs)
        console_kernel("Linux version 9.9.9-fake");
    for (;;) {
        struct pollfd p[] = {
            {FD_QMP, POLLIN, 0}, {FD_CONSOLE_IN, POLLIN, 0}, {machine_runs ? FD_AGENT : -1, POLLIN, 0}};

        if (poll(p, 3, -1) < 0)
            return 1;
        for (size_t i = 0; i < 3; i++)
            if (p[i].revents && !(p[i].revents & POLLNVAL))
                readers[i]();
    }
}

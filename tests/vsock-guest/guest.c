/* SPDX-License-Identifier: MIT */
/*
 * The guest's side of vsock-guest-test.c: an init that loads the modules in /modules in the order of their
 * names and serves vsock ports, one process per connection.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ports.h"

static char buf[1 << 20];

static void guest_die(const char *what)
{
    printf("guest: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    _exit(1);
}

static int read_all(int fd, void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = read(fd, (char *)p + done, n - done);

        if (r <= 0)
            return -1;
        done += (size_t)r;
    }
    return 0;
}

static int write_all(int fd, const void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = write(fd, (const char *)p + done, n - done);

        if (r <= 0)
            return -1;
        done += (size_t)r;
    }
    return 0;
}

static void serve_echo(int fd)
{
    ssize_t r;

    while ((r = read(fd, buf, sizeof(buf))) > 0)
        if (write_all(fd, buf, (size_t)r) < 0)
            return;
}

/* Reads n bytes and replies with their sum, until the host closes. */
static void serve_sink(int fd)
{
    uint64_t n, sum;

    while (read_all(fd, &n, sizeof(n)) == 0) {
        sum = 0;
        while (n > 0) {
            ssize_t r = read(fd, buf, n < sizeof(buf) ? n : sizeof(buf));

            if (r <= 0)
                return;
            /* One byte of each page detects misplaced pages, and is cheap under emulation. */
            for (ssize_t i = 0; i < r; i += 4096)
                sum += (uint8_t)buf[i];
            n -= (uint64_t)r;
        }
        if (write_all(fd, &sum, sizeof(sum)) < 0)
            return;
    }
}

static void serve_source(int fd)
{
    uint64_t n;

    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(i * 7);
    while (read_all(fd, &n, sizeof(n)) == 0) {
        while (n > 0) {
            size_t k = n < sizeof(buf) ? n : sizeof(buf);

            if (write_all(fd, buf, k) < 0)
                return;
            n -= k;
        }
    }
}

/* The host shuts down its half first. */
static void serve_count(int fd)
{
    uint64_t sum = 0;
    ssize_t r;

    while ((r = read(fd, buf, sizeof(buf))) > 0)
        sum += (uint64_t)r;
    if (r == 0)
        write_all(fd, &sum, sizeof(sum));
}

static void call_host(uint64_t value);

/* The guest shuts down its half first. */
static void serve_bye(int fd)
{
    uint64_t sum = 0;
    ssize_t r;

    write_all(fd, "bye", 3);
    shutdown(fd, SHUT_WR);
    while ((r = read(fd, buf, sizeof(buf))) > 0)
        sum += (uint64_t)r;
    call_host(sum);
}

/* Closes with unread bytes in its buffer. */
static void serve_drop(int fd)
{
    char c;

    read_all(fd, &c, 1);
}

/* Reads nothing until the window is full, then everything. */
static void serve_slow(int fd)
{
    char c;

    recv(fd, &c, 1, MSG_PEEK);
    poll(NULL, 0, 200);
    serve_sink(fd);
}

static void serve_restart(int fd)
{
    (void)fd;
    reboot(LINUX_REBOOT_CMD_RESTART);
}

static void call_host(uint64_t value)
{
    struct sockaddr_vm addr = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = HOST_PORT};
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        guest_die("connect to the host");
    write_all(fd, &value, sizeof(value));
    read_all(fd, &value, 1); /* until the host closes */
    close(fd);
}

static const struct {
    unsigned port;
    void (*serve)(int fd);
} services[] = {
    {ECHO_PORT, serve_echo},   {SINK_PORT, serve_sink},       {SOURCE_PORT, serve_source},
    {COUNT_PORT, serve_count}, {BYE_PORT, serve_bye},         {DROP_PORT, serve_drop},
    {SLOW_PORT, serve_slow},   {RESTART_PORT, serve_restart},
};
enum { SERVICES = sizeof(services) / sizeof(services[0]) };

static void load_modules(void)
{
    for (int i = 0; i < 100; i++) {
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "/modules/%02d.ko", i);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return;
        if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
            guest_die(path);
        close(fd);
    }
}

static int listen_on(unsigned port)
{
    struct sockaddr_vm addr = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const char *window = getenv("window");

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        guest_die("bind");
    if (window) {
        uint64_t n = strtoull(window, NULL, 10);

        if (setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &n, sizeof(n)) < 0 ||
            setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &n, sizeof(n)) < 0)
            guest_die("setsockopt");
    }
    if (listen(fd, 128) < 0)
        guest_die("listen");
    return fd;
}

int main(void)
{
    struct pollfd p[SERVICES];

    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    load_modules();
    for (int i = 0; i < SERVICES; i++)
        p[i] = (struct pollfd){.fd = listen_on(services[i].port), .events = POLLIN};
    if (fork() == 0) {
        call_host(HELLO);
        _exit(0);
    }
    for (;;) {
        poll(p, SERVICES, -1);
        for (int i = 0; i < SERVICES; i++) {
            int fd;

            if (!p[i].revents)
                continue;
            fd = accept(p[i].fd, NULL, NULL);
            if (fd >= 0 && fork() == 0) {
                services[i].serve(fd);
                close(fd);
                _exit(0);
            }
            close(fd);
        }
    }
}

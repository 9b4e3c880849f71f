/* SPDX-License-Identifier: MIT */
#include "tests/fake/qemu.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool machine_runs = true;

static int passed_fd = -1; /* from getfd */

static void monitor_say(const char *name, const char *text)
{
    fault_point(name);
    fault_write(FD_QMP, text, strlen(text));
}

void monitor_greet(void)
{
    monitor_say("greeting", "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\r\n");
}

void monitor_event(const char *event, const char *data)
{
    char line[512];

    snprintf(line, sizeof(line), "{\"event\":\"%s\",\"data\":%s}\r\n", event, data);
    monitor_say("event", line);
}

void monitor_shutdown(const char *reason)
{
    char data[128];

    snprintf(data, sizeof(data), "{\"guest\":true,\"reason\":\"%s\"}", reason);
    monitor_event("SHUTDOWN", data);
    _exit(0);
}

unsigned monitor_reset_us = 20000;

void monitor_reset(const char *guest, const char *reason)
{
    char data[128];

    guest_reset();
    monitor_event("VSERPORT_CHANGE", "{\"id\":\"agent\",\"open\":false}");
    usleep(monitor_reset_us);
    snprintf(data, sizeof(data), "{\"guest\":%s,\"reason\":\"%s\"}", guest, reason);
    monitor_event("RESET", data);
    console_kernel("Linux version 9.9.9-fake");
}

/* ---- the commands ---- */

static void stream_write(int fd, const char *bytes, size_t n)
{
    if (ftruncate(fd, 0) < 0 || pwrite(fd, bytes, n, 0) != (ssize_t)n)
        exit(97);
}

/* QEMU's stream with no memory and one device (vmstate.c). */
static void do_migrate(void)
{
    static const char stream[] = "QEVM\0\0\0\3"
                                 "\7\0\0\0\4fake"
                                 "\1\0\0\0\2\3ram\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\20\x7e\0\0\0\2"
                                 "\3\0\0\0\2\0\0\0\0\0\0\0\20\x7e\0\0\0\2"
                                 "\4device\0"
                                 "\6\0\0\0";

    stream_write(passed_fd, stream, sizeof(stream));
    monitor_event("MIGRATION", "{\"status\":\"completed\"}");
}

static void do_save_devices(void)
{
    static const char stream[] = "QEVM\0\0\0\3\4device";

    stream_write(FD_SAVE, stream, sizeof(stream));
}

static void do_incoming(void)
{
    monitor_event("MIGRATION", "{\"status\":\"completed\"}");
}

static void do_stop(void)
{
    machine_runs = false;
    monitor_event("STOP", "{}");
}

static void do_cont(void)
{
    machine_runs = true;
    monitor_event("RESUME", "{}");
}

static void do_reset(void)
{
    monitor_reset("false", "host-qmp-system-reset");
}

static const struct {
    const char *name;
    void (*fn)(void);
} commands[] = {
    {"system_reset", do_reset},
    {"stop", do_stop},
    {"cont", do_cont},
    {"migrate", do_migrate},
    {"migrate-incoming", do_incoming},
    {"xen-save-devices-state", do_save_devices},
};

/* Our own monitor writes compact JSON: the value behind "key": is found as text. */
static const char *value_of(const char *line, const char *key)
{
    const char *at = strstr(line, key);

    return at ? at + strlen(key) : "";
}

static void on_command(const char *line)
{
    char name[64] = "", text[128];
    long id = atol(value_of(line, "\"id\":"));

    sscanf(value_of(line, "\"execute\":\""), "%63[^\"]", name);
    fault_point(name);
    if (!strcmp(name, "query-status"))
        snprintf(text, sizeof(text), "{\"return\":{\"status\":\"%s\"},\"id\":%ld}\r\n",
                 machine_runs ? "running" : "paused", id);
    else
        snprintf(text, sizeof(text), "{\"return\":{},\"id\":%ld}\r\n", id);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (!strcmp(name, commands[i].name))
            commands[i].fn();
    monitor_say("return", text);
}

/* Receives bytes, and the descriptor that may come with them. */
static ssize_t monitor_receive(char *buf, size_t cap)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {buf, cap};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(FD_QMP, &m, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

    if (c && c->cmsg_type == SCM_RIGHTS) {
        close(passed_fd);
        memcpy(&passed_fd, CMSG_DATA(c), sizeof(int));
    }
    return n;
}

void monitor_read(void)
{
    static char buf[65536];
    static size_t len;
    ssize_t n = monitor_receive(buf + len, sizeof(buf) - 1 - len);
    char *nl;

    if (n <= 0)
        _exit(0);
    len += (size_t)n;
    buf[len] = '\0';
    while ((nl = memchr(buf, '\n', len))) {
        size_t used = (size_t)(nl + 1 - buf);

        *nl = '\0';
        on_command(buf);
        memmove(buf, buf + used, len - used + 1);
        len -= used;
    }
}

/* SPDX-License-Identifier: MIT */
#include "tests/fake/qemu.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fake/reports.h"

enum { FDS = 64 };

static struct {
    struct plan_shared *shared;
    char name[64], action[64];
    unsigned n;
    bool drip[FDS], closed[FDS];
} fault;

void fault_open(const char *spec)
{
    char path[256];
    int fd;

    if (sscanf(spec, "%255[^:]:%63[^:]:%u:%63s", path, fault.name, &fault.n, fault.action) != 4 ||
        (fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
        exit(99);
    fault.shared = mmap(NULL, sizeof(*fault.shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (fault.shared == MAP_FAILED)
        exit(99);
}

void fault_write(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n && !fault.closed[fd]) {
        ssize_t r = write(fd, p, fault.drip[fd] ? 1 : n); /* SIGPIPE is ignored */

        if (r <= 0)
            return;
        if (fault.drip[fd])
            usleep(200);
        p += r;
        n -= (size_t)r;
    }
}

static char log_text[1 << 14] = "[    0.000000] Linux version 9.9-fake\n";

/* Nothing where the log is full: no fault prints so much. */
static void log_add(const char *line, size_t n)
{
    size_t len = strlen(log_text);

    if (len + n + 1 < sizeof(log_text))
        snprintf(log_text + len, sizeof(log_text) - len, "%.*s\n", (int)n, line);
}

const char *kernel_log(size_t *n)
{
    *n = strlen(log_text);
    return log_text;
}

/* Each line gets a time stamp, as the kernel prints it. */
void console_kernel(const char *text)
{
    static unsigned us;

    while (*text) {
        size_t n = strcspn(text, "\n");
        char line[256];
        int len =
            snprintf(line, sizeof(line), "[%5u.%06u] %.*s\r\n", 1 + getpid() % 1000, us += 10, (int)n, text);

        fault_write(FD_CONSOLE, line, (size_t)len);
        log_add(line, (size_t)len - 2);
        text += n + (text[n] == '\n');
    }
}

/* ---- the actions ---- */

static void fault_hang(void)
{
    for (;;)
        pause();
}

static void act_exit(int arg)
{
    _exit(arg);
}

static void act_signal(int arg)
{
    kill(getpid(), arg);
    fault_hang();
}

static void act_hang(int arg)
{
    (void)arg;
    fault_hang();
}

static void act_off(int arg)
{
    (void)arg;
    monitor_shutdown("guest-shutdown");
}

/* panic=-1: the kernel reboots, and -no-reboot ends QEMU. */
static void act_panic(int arg)
{
    (void)arg;
    console_kernel(REPORT_PANIC_LINE "\n" REPORT_PANIC_END);
    monitor_event("GUEST_PANICKED", "{\"action\":\"run\"}");
    monitor_shutdown("guest-reset");
}

/* The kernel panics and hangs; arg: it has printed its last line. */
static void act_panic_hangs(int arg)
{
    console_kernel(arg ? REPORT_PANIC_LINE "\n" REPORT_PANIC_END : REPORT_PANIC_LINE);
    atomic_store(&fault.shared->done, 1);
    fault_hang();
}

static void act_garbage(int fd)
{
    static const char junk[] = "\xff\0{]\x1b[2J\x80garbage\r\n\0\0\0\0\x7f\xfe\xfe\xfe\xfe\xfe\xfe\xfe\n";

    fault_write(fd, junk, sizeof(junk));
}

static void act_eof(int fd)
{
    int null = shutdown(fd, SHUT_RDWR) < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

    if (null >= 0) { /* the console is a pipe */
        dup2(null, fd);
        close(null);
    }
    fault.closed[fd] = true;
}

static void act_drip(int fd)
{
    fault.drip[fd] = true;
}

static void act_report(int i)
{
    const struct fake_report *r = &fake_reports[i];

    if (!r->raw) {
        console_kernel(r->text);
        return;
    }
    if (!r->program)
        log_add(r->text, strcspn(r->text, "\r"));
    fault_write(FD_CONSOLE, r->text, strlen(r->text));
}

/* A program in the guest prints what a kernel that panics prints, and lives on. */
static void act_text(int arg)
{
    (void)arg;
    console_kernel(REPORT_PANIC_LINE);
}

static void act_agent_ends(int anew)
{
    guest_agent_ends(anew);
}

static void act_sessions_end(int arg)
{
    (void)arg;
    guest_sessions_end();
}

/* Ports that the profile's qemu_args have added are none of the agent's; nor is an event that names none. */
static void act_other_ports(int arg)
{
    (void)arg;
    monitor_event("VSERPORT_CHANGE", "{\"id\":\"users\",\"open\":false}");
    monitor_event("VSERPORT_CHANGE", "{\"open\":false}");
    monitor_event("VSERPORT_CHANGE", "{\"id\":7,\"open\":false}");
}

/* A host with too much to do: RESET comes long after the port's end. */
static void act_slow_reset(int ms)
{
    monitor_reset_us = 1000 * (unsigned)ms;
}

static const struct action {
    const char *name;
    void (*fn)(int arg);
    int arg;
} actions[] = {
    {"exit", act_exit, 0},
    {"exit1", act_exit, 1},
    {"sigkill", act_signal, SIGKILL},
    {"sigsegv", act_signal, SIGSEGV},
    {"hang", act_hang, 0},
    {"off", act_off, 0},
    {"panic", act_panic, 0},
    {"panic-hang", act_panic_hangs, 0},
    {"panic-end-hang", act_panic_hangs, 1},
    {"panic-text", act_text, 0},
    {"garbage-qmp", act_garbage, FD_QMP},
    {"garbage-console", act_garbage, FD_CONSOLE},
    {"garbage-agent", act_garbage, FD_AGENT},
    {"eof-qmp", act_eof, FD_QMP},
    {"eof-console", act_eof, FD_CONSOLE},
    {"eof-agent", act_eof, FD_AGENT},
    {"drip-qmp", act_drip, FD_QMP},
    {"drip-console", act_drip, FD_CONSOLE},
    {"drip-agent", act_drip, FD_AGENT},
    {"agent-ends", act_agent_ends, 0},
    {"agent-restarts", act_agent_ends, 1},
    {"sessions-end", act_sessions_end, 0},
    {"other-ports", act_other_ports, 0},
    {"slow-reset", act_slow_reset, 800},
    {"none", NULL, 0},
};

static void fault_act(void)
{
    for (int i = 0; fake_reports[i].name; i++)
        if (!strcmp(fault.action, fake_reports[i].name)) {
            act_report(i);
            atomic_store(&fault.shared->done, 1);
            return;
        }
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
        if (!strcmp(fault.action, actions[i].name)) {
            if (actions[i].fn)
                actions[i].fn(actions[i].arg);
            atomic_store(&fault.shared->done, 1);
            return;
        }
    exit(98);
}

void fault_point(const char *name)
{
    if (!fault.shared || (strcmp(fault.name, "*") != 0 && strcmp(fault.name, name) != 0))
        return;
    if (atomic_fetch_add(&fault.shared->seen, 1) + 1 != fault.n)
        return;
    atomic_store(&fault.shared->fired, 1);
    fault_act();
}

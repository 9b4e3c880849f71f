/* SPDX-License-Identifier: MIT */
/*
 *     idle -> due -> asked --formats--> dumping --DUMP_COMPLETED--> over
 *
 * Each arrow out of asked and dumping may be a failure instead: QEMU's refusal or end, the deadline, the limit of size,
 * an error of the file.  Closing our end of the pipe makes QEMU give a dump up that is under way.
 */
#include "vm/core.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/path.h"
#include "util/sock.h"
#include "vm/console.h"
#include "vm/internal.h"
#include "vm/qmp.h"

#define LIMIT (60 * PV_NSEC_PER_SEC)
#define SIZE_MAX_DEFAULT (UINT64_C(8) << 30)
enum { PIECE = 1 << 18, PIECES_AT_ONCE = 16, PIPE_SIZE = 1 << 20 };

#define STR_(x) #x
#define STR(x) STR_(x)
#define FD_CORE 38
_Static_assert(FD_CORE == PV_QEMU_FD_CORE, "descriptor number");

/* ---- the end of one ---- */

static void core_close(struct pv_vm *vm)
{
    struct pv_vm_core *c = &vm->core;

    pv_timer_cancel(vm->loop, &c->deadline);
    pv_timer_cancel(vm->loop, &c->due);
    if (c->watch.fd >= 0)
        pv_loop_del(vm->loop, &c->watch);
    pv_close(&c->pipe);
    pv_close(&c->fd);
}

/* failure NULL: it is complete. */
static void core_over(struct pv_vm *vm, const char *failure)
{
    struct pv_vm_core *c = &vm->core;

    if (c->state != PV_CORE_ASKED && c->state != PV_CORE_DUMPING)
        return;
    pv_debug("core", "pid %d: %s", (int)vm->process.pid, failure ? failure : "complete");
    c->state = PV_CORE_OVER;
    core_close(vm);
    if (c->ops.done)
        c->ops.done(c->format, failure, c->arg);
    if (c->end) /* deferred: this may be a callback of the monitor */
        pv_timer_arm(vm->loop, &vm->hints.dead_timer, pv_now());
}

void pv_vm_core_end(struct pv_vm *vm)
{
    vm->core.end = false;
    core_over(vm, "its QEMU has ended");
    core_close(vm);
    vm->core.state = PV_CORE_OVER;
}

static void on_deadline(struct pv_timer *t)
{
    core_over(PV_CONTAINER_OF(t, struct pv_vm, core.deadline), "QEMU was not done within 60 s");
}

/* ---- from the pipe into the file ---- */

/* False: the core has failed. */
static bool core_write(struct pv_vm *vm, const char *data, size_t n)
{
    struct pv_vm_core *c = &vm->core;
    char text[160];

    c->size += n;
    if (c->size > SIZE_MAX_DEFAULT) {
        core_over(vm, "it is larger than 8 GiB, the limit of a core");
        return false;
    }
    if (pv_write_all(c->fd, data, n) == 0)
        return true;
    snprintf(text, sizeof(text), "it cannot be written: %s", strerror(errno));
    core_over(vm, text);
    return false;
}

/* Reads at most `pieces`; false: the core is over. */
static bool core_read(struct pv_vm *vm, unsigned pieces)
{
    struct pv_vm_core *c = &vm->core;
    cleanup_free char *piece = pv_xmalloc(PIECE);

    while (pieces--) {
        ssize_t n = read(c->pipe, piece, PIECE);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true;
        if (!core_write(vm, piece, (size_t)n))
            return false;
    }
    return true;
}

static void on_pipe(struct pv_watch *w, uint32_t events)
{
    struct pv_vm *vm = PV_CONTAINER_OF(w, struct pv_vm, core.watch);

    (void)events;
    core_read(vm, PIECES_AT_ONCE);
}

/* ---- QEMU ---- */

void pv_vm_core_completed(struct pv_vm *vm, const json_t *data)
{
    const char *error = json_string_value(json_object_get(data, "error"));
    const char *status = json_string_value(json_object_get(json_object_get(data, "result"), "status"));
    char text[320];

    if (vm->core.state != PV_CORE_DUMPING)
        return;
    if (status && !strcmp(status, "completed")) {
        /* what the pipe still holds */
        if (core_read(vm, PIPE_SIZE / PIECE + 2))
            core_over(vm, vm->core.size ? NULL : "QEMU has written nothing");
        return;
    }
    snprintf(text, sizeof(text), "QEMU has given up: %.256s", error ? error : "it says no reason");
    core_over(vm, text);
}

static void on_started(void *arg, const json_t *value)
{
    if (!value)
        core_over(arg, "QEMU refuses dump-guest-memory");
}

/* The reply to query-dump-guest-memory-capability; NULL from a QEMU that has no such command: it writes ELF. */
static void on_formats(void *arg, const json_t *value)
{
    struct pv_vm *vm = arg;
    struct pv_vm_core *c = &vm->core;
    const json_t *formats = json_object_get(value, "formats");
    char arguments[128];

    if (c->state != PV_CORE_ASKED)
        return;
    c->format = "elf";
    for (size_t i = 0; i < json_array_size(formats); i++) {
        const char *name = json_string_value(json_array_get(formats, i));

        if (name && !strcmp(name, "kdump-zlib"))
            c->format = "kdump-zlib";
    }
    c->state = PV_CORE_DUMPING;
    snprintf(arguments, sizeof(arguments),
             "{\"paging\":false,\"detach\":true,\"protocol\":\"file:/proc/self/fd/" STR(
                 FD_CORE) "\",\"format\":\"%s\"}",
             c->format);
    if (!pv_qmp_post(vm->qmp, "dump-guest-memory", arguments, on_started))
        core_over(vm, "QEMU's monitor does not reply");
}

static bool core_begin(struct pv_vm *vm, bool over)
{
    struct pv_vm_core *c = &vm->core;
    struct pv_err err = PV_ERR_INIT;
    int fd;

    if (c->state > PV_CORE_DUE || c->pipe < 0 || !c->ops.open || !vm->qmp)
        return false;
    c->state = PV_CORE_IDLE;
    fd = c->ops.open(c->arg);
    if (fd < 0)
        return false;
    c->fd = fd;
    c->began = pv_now();
    c->state = PV_CORE_ASKED;
    c->end = over;
    c->watch.fn = on_pipe;
    c->deadline.fn = on_deadline;
    pv_timer_arm(vm->loop, &c->deadline, pv_deadline(LIMIT));
    if (pv_loop_add(vm->loop, &c->watch, c->pipe, EPOLLIN, &err) < 0)
        core_over(vm, err.text);
    else if (!pv_qmp_post(vm->qmp, "query-dump-guest-memory-capability", NULL, on_formats))
        core_over(vm, "QEMU's monitor does not reply");
    return true;
}

/* ---- when one is due ---- */

bool pv_vm_core_before_end(struct pv_vm *vm)
{
    struct pv_vm_core *c = &vm->core;

    if (vm->process.reaped)
        return false;
    if (c->state <= PV_CORE_DUE &&
        (vm->end.panic_event || vm->stuck.reason || pv_console_panic(vm->console.text)))
        core_begin(vm, true);
    if (c->state == PV_CORE_ASKED || c->state == PV_CORE_DUMPING)
        c->end = true; /* also one that began as that of a VM that runs on */
    return c->end && c->state != PV_CORE_OVER;
}

static void on_due(struct pv_timer *t)
{
    struct pv_vm *vm = PV_CONTAINER_OF(t, struct pv_vm, core.due);

    if (vm->core.state != PV_CORE_DUE)
        return;
    vm->core.state = PV_CORE_IDLE;
    if (vm->state == PV_VM_RUNNING && !pv_console_panic(vm->console.text)) /* a panic's comes with the end */
        core_begin(vm, false);
}

void pv_vm_core(struct pv_vm *vm)
{
    if (vm->core.state != PV_CORE_IDLE || vm->core.pipe < 0)
        return;
    vm->core.state = PV_CORE_DUE;
    vm->core.began = pv_now();
    vm->core.due.fn = on_due;
    pv_timer_arm(vm->loop, &vm->core.due, pv_now());
}

void pv_vm_on_core(struct pv_vm *vm, const struct pv_vm_core_ops *ops, void *arg)
{
    vm->core.ops = ops ? *ops : (struct pv_vm_core_ops){0};
    vm->core.arg = arg;
}

int64_t pv_vm_core_began(const struct pv_vm *vm)
{
    return vm->core.state != PV_CORE_IDLE && vm->core.state != PV_CORE_OVER ? vm->core.began : 0;
}

int pv_vm_core_pipe(struct pv_vm *vm, struct pv_err *err)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return pv_err_sys(err, errno, "cannot make a pipe for QEMU"), -1;
    vm->core.pipe = fds[0];
    fcntl(fds[0], F_SETPIPE_SZ, PIPE_SIZE); /* a smaller one is slower, no more */
    if (pv_set_nonblocking(fds[0]) == 0)
        return fds[1];
    pv_err_sys(err, errno, "cannot make a pipe non-blocking");
    close(fds[1]);
    return -1;
}

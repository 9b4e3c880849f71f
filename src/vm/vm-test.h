/* SPDX-License-Identifier: MIT */
/* Helpers of the tests with a real QEMU. */
#ifndef PV_VM_VM_TEST_H
#define PV_VM_VM_TEST_H

#include <string.h>

#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/test.h"
#include "vm/conlog.h"
#include "vm/console.h"
#include "vm/spec.h"
#include "vm/vm.h"

struct run {
    struct pv_loop *loop;
    struct pv_vm *vm;
    int ends; /* calls of on_end */
    struct pv_conlog *log;
    bool kill_at_end; /* on_end calls pv_vm_kill */
};

static inline struct pv_vm_spec plain_spec(void)
{
    return (struct pv_vm_spec){
        .name = "test", .initrd_fd = -1, .channel.fd = -1, .memory.size = UINT64_C(256) << 20, .cpus = 1};
}

static inline void run_on_end(struct pv_vm *vm, void *arg)
{
    struct run *r = arg;

    r->ends++;
    if (r->kill_at_end)
        pv_vm_kill(vm);
}

static inline void run_start(struct run *r, const struct pv_vm_spec *spec, const char *log_path)
{
    struct pv_err err = PV_ERR_INIT;

    memset(r, 0, sizeof(*r));
    r->loop = pv_loop_new(&err);
    r->log = pv_conlog_new(log_path);
    r->vm = pv_vm_start(r->loop, spec, r->log, run_on_end, r, &err);
    if (!r->vm)
        fail_msg("%s", err.text);
}

static inline bool run_ended(void *arg)
{
    return pv_vm_state(((struct run *)arg)->vm) == PV_VM_ENDED;
}

static inline bool run_panicked(void *arg)
{
    return pv_console_panic(pv_vm_console(((struct run *)arg)->vm)) != NULL;
}

/* Runs the loop; true if `done` becomes true within so many ms. */
static inline bool run_until(struct run *r, bool (*done)(void *arg), int ms)
{
    return pv_loop_run(r->loop, done, r, pv_deadline(ms * PV_NSEC_PER_MSEC), NULL) == 0;
}

static inline void run_stop(struct run *r)
{
    pv_vm_free(r->vm);
    pv_conlog_free(r->log);
    pv_loop_free(r->loop);
}

#endif

/* SPDX-License-Identifier: MIT */
/* The inside of a VM, one struct per file that works on it.  Private to vm. */
#ifndef PV_VM_INTERNAL_H
#define PV_VM_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "loop/loop.h"
#include "util/mem.h"
#include "vm/core.h"
#include "vm/cpus.h"
#include "vm/spec.h"
#include "vm/plug.h"
#include "vm/vm.h"
#include "vm/vmstate.h"

struct json_t;

/* vm.c: QEMU as a child of this process. */
struct pv_vm_process {
    pid_t pid; /* -1: not started */
    int pidfd;
    struct pv_watch watch;
    bool reaped;
    bool killed; /* by pv_vm_kill */
    int status;  /* wait status, once reaped */
};

/* output.c: a pipe that QEMU writes text to. */
struct pv_vm_output {
    struct pv_watch watch;
    int fd;
    int size;        /* of the console's pipe, bytes; 0, -1: not known */
    int64_t full;    /* when it was told as full, 0: not yet */
    int64_t read_at; /* when it was last read */
    struct {
        struct pv_watch watch;
        int fd; /* a socket from which QEMU reads; -1: none */
    } input;
    struct pv_console *text;
    struct pv_vm *vm;
    void (*came)(struct pv_vm *vm);                          /* called after each piece; or NULL */
    void (*on_bytes)(const void *data, size_t n, void *arg); /* gets all bytes as they come; or NULL */
    void *arg;
    struct pv_buf unsent; /* input of the console that QEMU has not taken yet */
};

/* vm.c: console lines that a dying guest prints, and any other program can. */
struct pv_vm_panic_hints {
    int64_t panic_seen, fatal_seen; /* when the text was first seen, 0: not */
    struct pv_timer ask_timer;      /* asks the agent for a sign of life */
    struct pv_timer dead_timer;     /* declares the end of a guest that QEMU outlives */
    bool paused;                    /* its vCPUs are stopped: silence means nothing */
    bool (*ask)(void *arg);
    void *ask_arg;
};

/* end.c: what explains the end. */
struct pv_vm_end {
    char shutdown[32]; /* reason of QEMU's SHUTDOWN event */
    char stopped[32];  /* run state that QEMU does not leave by itself, "": none */
    bool panic_event;
    bool failed;        /* pv_vm_failed */
    char *lost;         /* what it cannot go on without has ended (pv_vm_lost); NULL: nothing has */
    bool confined_args; /* its qemu_args may have named a file that it was not allowed to open */
    char reason[2048];
};

/* migrate.c */
struct pv_vm_migration {
    int save_fd;        /* memfd that QEMU writes its stream to; -1: not savable */
    int load_fd;        /* the file that the VM was loaded from; -1: it was booted */
    struct pv_buf head; /* of its stream (vmstate.h); empty: of no use for the next save */
    char status[16];    /* of the last MIGRATION event */
    bool asked;         /* QEMU has told how it can be saved (`how`) */
    bool with_memory;   /* every save has all memory */
    struct pv_vmstate_record how;
};

/* stuck.c */
struct pv_vm_stuck {
    struct pv_timer timer; /* the next look */
    int64_t alive;         /* when the last sign of life came */
    bool paused;           /* QEMU does not run the vCPUs */
    bool asked;            /* a print of the registers is due */
    unsigned frozen;       /* looks in a row at which QEMU owed it and had used no CPU time since the last */
    int64_t cpu_seen;      /* QEMU's CPU time at the last look */
    struct pv_cpus cpus;   /* prints since the last sign of life */
    int64_t cpu_time;      /* QEMU's at the first of them */
    char *reason;          /* the guest stands still: how; NULL: it does not */
};

/* core.c */
struct pv_vm_core {
    enum { PV_CORE_IDLE, PV_CORE_DUE, PV_CORE_ASKED, PV_CORE_DUMPING, PV_CORE_OVER } state;
    int pipe, fd;       /* from QEMU, -1: the VM was started without one; into the file, -1: none */
    bool end;           /* the VM ends behind it */
    uint64_t size;      /* bytes so far */
    const char *format; /* NULL: not known yet */
    int64_t began;
    struct pv_watch watch;
    struct pv_timer due, deadline;
    struct pv_vm_core_ops ops;
    void *arg;
};

/* hotplug.c */
struct pv_vm_hotplug {
    enum {
        PV_PORT_EMPTY,
        PV_PORT_FULL,
        PV_PORT_RELEASING /* the guest was asked to release the device */
    } port;
    unsigned n_plugged; /* so far: number of the last device */
};

/* reason: one process, with what each file of the room keeps about it */
struct pv_vm {
    struct pv_loop *loop;
    enum pv_vm_state state;
    struct pv_vm_process process;
    struct pv_vm_output console, errors;
    struct pv_qmp *qmp;
    struct pv_vm_panic_hints hints;
    struct pv_vm_end end;
    struct pv_vm_migration migration;
    struct pv_vm_hotplug hotplug;
    struct pv_vm_stuck stuck;
    struct pv_vm_core core;
    unsigned plugs_left;           /* plug.c: a bit per slot whose device is gone */
    unsigned nics_left;            /* nic.c: a bit per slot whose device is gone */
    uint64_t memory_file;          /* dirty.c: bytes of the memory file, 0: none */
    int overlays[PV_VM_DISKS_MAX]; /* by disk; -1: none */
    void (*on_end)(struct pv_vm *vm, void *arg);
    void *arg;
    bool port_closes; /* the guest or a reset has closed the agent's port */
    void (*on_port_closed)(void *arg);
    void *port_arg;
    void (*on_reset)(const char *panic, void *arg);
    void *reset_arg;
    void (*on_frozen)(void *arg);
    void *frozen_arg;
};

/* A device is gone, perhaps a disk of plug.c. */
static inline void pv_vm_plug_deleted(struct pv_vm *vm, const char *id)
{
    unsigned slot;
    int end = 0;

    if (id && sscanf(id, "plug%u%n", &slot, &end) == 1 && !id[end] && slot < PV_VM_PLUGS_MAX)
        vm->plugs_left |= 1U << slot;
}

/* ---- spawn.c ---- */

/* QEMU's ends of its stderr, monitor, and the console's output and input; they stay the caller's to close. */
struct pv_vm_ends {
    int errors, qmp, console, input;
};

/*
 * Makes the overlays and the save file in *vm, starts QEMU and fills in vm->process.  -1 with *err; files that
 * were made stay the VM's.
 */
int pv_vm_spawn(struct pv_vm *vm, const struct pv_vm_spec *spec, const struct pv_vm_ends *ends,
                struct pv_err *err);

/* ---- output.c ---- */

/* Takes *fd and watches it and o->input.fd. */
int pv_vm_output_open(struct pv_vm_output *o, int *fd, struct pv_err *err);

/* Reads what has come, a bounded part of it; or all of it, which ends if nobody writes. */
void pv_vm_output_read(struct pv_vm_output *o);
void pv_vm_output_read_rest(struct pv_vm_output *o);

/* Sends, now or later, n bytes behind what is unsent; nothing after the end of QEMU. */
void pv_vm_output_send(struct pv_vm_output *o, const void *data, size_t n);
void pv_vm_output_close(struct pv_vm_output *o); /* also of one that is not open */

/* ---- end.c ---- */

/* Writes vm->end.reason from what is known by now. */
void pv_vm_explain_end(struct pv_vm *vm);

/* ---- stuck.c ---- */

/* QEMU was started; paused: with its vCPUs stopped. */
void pv_vm_stuck_begin(struct pv_vm *vm, bool paused);
/* The console or the agent has sent something. Cheap. */
void pv_vm_stuck_alive(struct pv_vm *vm);
/* QEMU has stopped its vCPUs, or lets them run. */
void pv_vm_stuck_pause(struct pv_vm *vm, bool paused);
void pv_vm_stuck_end(struct pv_vm *vm);

/* ---- core.c ---- */

/* Makes the pipe.  QEMU's end, which the caller closes; -1 with *err. */
int pv_vm_core_pipe(struct pv_vm *vm, struct pv_err *err);
/*
 * The VM is about to be declared ended while its QEMU is alive.  True: its core comes first, and dead_timer is armed
 * again behind it.
 */
bool pv_vm_core_before_end(struct pv_vm *vm);
/* QEMU's DUMP_COMPLETED event. */
void pv_vm_core_completed(struct pv_vm *vm, const struct json_t *data);
/* QEMU has ended: a core that is being written has failed. */
void pv_vm_core_end(struct pv_vm *vm);

/* ---- life.c ---- */

/* QEMU's RESET event. */
void pv_vm_was_reset(struct pv_vm *vm);

/* ---- hotplug.c ---- */

/* QEMU's DEVICE_DELETED event for the device of that id (NULL: it has none). */
void pv_vm_hotplug_deleted(struct pv_vm *vm, const char *id);

/* ---- nic.c ---- */

/* The same event, for a NIC. */
void pv_vm_nic_deleted(struct pv_vm *vm, const char *id);

#endif

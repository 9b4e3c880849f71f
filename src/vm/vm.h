/* SPDX-License-Identifier: MIT */
/*
 * QEMU alone: its command line, process, monitor (QMP), console.  Takes paths and descriptors; knows
 * nothing of agents, archives or profiles.
 *
 * A pv_vm is one QEMU process.  It is started once and ends once; its end is noticed by a pidfd in the loop,
 * at once, whatever anybody waits for.
 */
#ifndef PV_VM_VM_H
#define PV_VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/mem.h"

struct pv_err;
struct pv_finding;
struct pv_loop;

/* ---- accel.c ---- */

struct pv_accel_probe {
    bool kvm;         /* hardware acceleration works and is fast */
    char why[256];    /* one line for people, whichever it is: "KVM works", "no /dev/kvm", "/dev/kvm is there
                         but runs guest code 1,200 times slower than hardware: software emulation is used" */
    uint32_t tsc_khz; /* the host's TSC rate, 0 when it cannot be told (no invariant TSC) */
};

/*
 * Probes /dev/kvm as DESIGN says (a few ms) and measures the TSC's rate; remembered per boot of the host
 * (boot ID) in the cache directory.  Never fails; without a cache directory it probes each time.
 */
void pv_accel_probe(struct pv_accel_probe *out);

/* The same without reading or writing the memory of it: for doctor and tests. */
void pv_accel_probe_now(struct pv_accel_probe *out);

/* ---- args.c: pure ---- */

struct pv_vm_disk {
    const char *path;
    const char *format; /* "raw" or "qcow2" */
    bool readonly;
    bool snapshot; /* writes are thrown away */
    /*
     * Of one that is `snapshot`: what lies between the image and the overlay, qcow2 images that are only
     * read, the lowest first; and what the overlay begins with, a qcow2 image that is copied (-1 or, with
     * copy_top false, anything: an empty one).
     */
    const int *layers;
    size_t n_layers;
    bool copy_top;
    int top_fd;
};

enum pv_vm_memory {
    PV_VM_MEMORY_OWN,    /* QEMU's own */
    PV_VM_MEMORY_SHARED, /* memory_fd, written to */
    PV_VM_MEMORY_PRIVATE /* memory_fd, copied where it is written to: the file stays as it is */
};

struct pv_vm_spec {
    const char *name; /* for messages and -name */
    const char *qemu; /* program, NULL: qemu-system-x86_64 */
    const char *kernel;
    const char *append; /* whole kernel command line */
    int initrd_fd;      /* becomes -initrd /proc/self/fd/N; -1: none */
    bool kvm;
    const char *machine; /* NULL: q35 with what Provium turns off */
    const char *cpu;     /* NULL: by accelerator */
    uint64_t memory;     /* bytes */
    enum pv_vm_memory memory_kind;
    int memory_fd; /* a file of pv_vm_memory_size(memory) bytes, unless memory_kind is OWN */
    bool savable;  /* pv_vm_save will be called */
    bool incoming; /* starts as pv_vm_load finds it in load_fd, which nobody else reads */
    int load_fd;
    unsigned cpus;
    const struct pv_vm_disk *disks; /* become vda, vdb, ... in order */
    size_t n_disks;
    const char *vsock_kind; /* "vhost-vsock", "vhost-user-vsock", "virtio-serial" (its port is named
                               "provium.agent") or NULL */
    int vsock_fd;           /* inherited by QEMU */
    unsigned vsock_cid;
    bool vsock_port;         /* q35 alone: a port that a vsock device can be plugged into while it runs */
    char *const *extra_args; /* the profile's qemu_args, NULL-terminated or NULL */
    const char *fatal_mark;  /* a console line with this text ends in why the guest gave up booting (the
                                wrapper's PV_FATAL_MARK); NULL: none. Used by pv_vm_start alone */
};

/* Descriptor numbers inside QEMU. */
enum {
    PV_QEMU_FD_QMP = 3,
    PV_QEMU_FD_CONSOLE = 4,
    PV_QEMU_FD_VSOCK = 5,
    PV_QEMU_FD_INITRD = 6,
    PV_QEMU_FD_OVERLAY = 7, /* + index of a disk that is `snapshot` */
    PV_QEMU_FD_MEMORY = 32,
    PV_QEMU_FD_SAVE = 33,
    PV_QEMU_FD_LOAD = 34,
    PV_QEMU_FD_LAYER = 40 /* + number of the layer, counted over all disks */
};
enum { PV_VM_DISKS_MAX = 24, PV_VM_LAYERS_MAX = 64 };

/* What QEMU rounds a memory size up to, bytes. */
uint64_t pv_vm_memory_size(uint64_t memory);

/*
 * The whole argv, argv[0] included, from the spec. Pure: no file is looked at.
 *
 * With "vhost-user-vsock" all guest memory is a memfd that QEMU shares with the device's back end.  `machine`
 * replaces the default as a whole.  A disk that is `snapshot` (and not readonly) is the backing image of a
 * file without a name that pv_vm_start makes in $TMPDIR (else /var/tmp).
 */
void pv_vm_args(const struct pv_vm_spec *spec, struct pv_strv *argv);

/*
 * The kernel command line: the console, what makes booting faster and changes nothing that a test may be
 * about (DESIGN "Boot"), rdinit= and provium.init= (each NULL: none), then the profile's and the boot call's
 * own options, which come last and so win.  tsc_khz 0: unknown.  The caller frees.  At most 2047 bytes are of
 * use: the kernel cuts the rest.
 */
char *pv_vm_kernel_args(bool kvm, uint32_t tsc_khz, const char *rdinit, const char *init,
                        const char *profile_append, const char *boot_append);
enum { PV_KERNEL_ARGS_MAX = 2047 };

/* ---- console.c: the serial console's log and tail ---- */

struct pv_console; /* bounded: the log file holds the first 4 MiB and, once the VM is freed, the last MiB; the
                      last lines are in memory */

/* Last `lines` lines (at most 64 are kept, 512 bytes each), control bytes made harmless. Added to out. */
void pv_console_tail(const struct pv_console *c, unsigned lines, struct pv_buf *out);
/*
 * The text behind the wrapper's fatal mark, or the kernel's behind "Kernel panic - not syncing: ", the first
 * of each, harmless for a terminal; NULL: none was seen.  Anything in the guest can write such a line: it
 * explains an end, it is no proof of one.
 */
const char *pv_console_fatal(const struct pv_console *c);
const char *pv_console_panic(const struct pv_console *c);

/* ---- vm.c ---- */

struct pv_vm;

enum pv_vm_state { PV_VM_RUNNING, PV_VM_ENDED };

/*
 * Starts QEMU.  Everything is inherited as descriptors; *spec->vsock_fd and initrd_fd stay the caller's to
 * close after the call.  log_path: the console log, made new (0600); NULL: none.
 * QEMU not found: class missing, the text names the Debian package.  A `snapshot` disk that cannot be read,
 * more than PV_VM_DISKS_MAX disks: class usage.  Everything else that QEMU dislikes is an end, with its
 * reason.
 *
 * on_end (may be NULL) is called from the loop, once, when the VM is known to be dead: QEMU has exited, or
 * the kernel has panicked and does not go on (pv_vm_end_reason says why).  It may call pv_vm_kill, not
 * pv_vm_free.  An end by pv_vm_kill does not call it.
 */
struct pv_vm *pv_vm_start(struct pv_loop *loop, const struct pv_vm_spec *spec, const char *log_path,
                          void (*on_end)(struct pv_vm *vm, void *arg), void *arg, struct pv_err *err);

enum pv_vm_state pv_vm_state(const struct pv_vm *vm);
pid_t pv_vm_pid(const struct pv_vm *vm);
int pv_vm_pidfd(const struct pv_vm *vm); /* stays the VM's */

/*
 * Why it ended, one sentence, the most telling cause first: the wrapper's fatal line, the kernel's panic
 * text, QEMU's own stderr with its exit status ("QEMU refused to start: ..."), "the guest powered off",
 * "the guest rebooted", "QEMU was killed by SIGKILL".  Borrowed; "" while it runs.
 */
const char *pv_vm_end_reason(const struct pv_vm *vm);
/* True when it ended because the guest asked for power-off or reboot. */
bool pv_vm_guest_powered_off(const struct pv_vm *vm);
/* True when it ended because its kernel panicked. */
bool pv_vm_panicked(const struct pv_vm *vm);

const struct pv_console *pv_vm_console(const struct pv_vm *vm);

/*
 * Has fn called, from the loop, when the guest closes the port of the virtio-serial device: its agent is
 * gone. It must not call into the VM.
 */
void pv_vm_on_port_closed(struct pv_vm *vm, void (*fn)(void *arg), void *arg);

/*
 * fn is told, from the loop, of what the kernel complains of on the console from now on (findings.h), and
 * by the two calls below and pv_vm_kill of what has not come to its end.  Call it right after the start;
 * again, with another fn (NULL: nobody is told), when the VM gets another owner.
 */
void pv_vm_on_finding(struct pv_vm *vm, void (*fn)(const struct pv_finding *finding, void *arg), void *arg);
/*
 * Reads what QEMU has written to the console by now: everything that the guest said before an answer of its
 * agent that has come.  Does not wait.
 */
void pv_vm_settle_findings(struct pv_vm *vm);

/*
 * Bytes came from the agent: the guest lives.  A kernel that has panicked and neither reboots nor makes QEMU
 * exit (panic=0 in `append`) is declared dead half a second after the last line of its panic report; since
 * anything in the guest can write these lines (/dev/kmsg), this call takes the suspicion back.  Cheap.
 */
void pv_vm_alive_hint(struct pv_vm *vm);

/*
 * Sends SIGKILL (unless it has ended) and reaps; the rest of the console is read first.  Blocks for the time
 * the kernel needs to end the process.  Can be called again.
 */
void pv_vm_kill(struct pv_vm *vm);
/* pv_vm_kill and free; NULL is fine. */
void pv_vm_free(struct pv_vm *vm);

/*
 * Runs one QMP command ("query-status", NULL or a JSON object of arguments as text) and waits for its answer
 * at most until the deadline.  *reply (may be NULL) gets the "return" value as JSON text (the caller frees).
 */
int pv_vm_qmp(struct pv_vm *vm, const char *command, const char *arguments, char **reply, int64_t deadline,
              struct pv_err *err);

/* ---- migrate.c: a machine's state to a file and back; see there for the format ---- */

/*
 * Stops the guest and saves all but its memory and disks (devices, CPUs, QEMU's ROMs) as a stream that
 * pv_vm_load of the same QEMU takes, into *out (a memfd, the caller's).  The guest stays stopped: pv_vm_cont.
 * Blocks (runs the loop).
 */
int pv_vm_save(struct pv_vm *vm, int *out, int64_t deadline, struct pv_err *err);
/* Of an `incoming` VM: takes load_fd in; it stays stopped. */
int pv_vm_load(struct pv_vm *vm, int64_t deadline, struct pv_err *err);
int pv_vm_cont(struct pv_vm *vm, int64_t deadline, struct pv_err *err);

/* ---- hotplug.c: a device that can not be saved, for the time between saves ---- */

/* Id of the port that spec->vsock_port makes. */
#define PV_VM_PORT "vsockport"

/*
 * Plugs a vhost-user-vsock device into the empty port; fd (which stays the caller's) is what its back end
 * serves, from this process's loop.  All guest memory must be SHARED and the file sealed (vhost.h).  The
 * guest may be stopped, then it finds the device when it goes on.  Returns when QEMU has made the device:
 * that the guest uses it is for the back end to tell.  Blocks (runs the loop).
 */
int pv_vm_plug_vsock(struct pv_vm *vm, int fd, int64_t deadline, struct pv_err *err);
/*
 * Asks the guest, which must run, to let go of it, and waits until it is out.  0 at once when the port is
 * empty: any guest can throw a device out unasked.  Class timeout when it does not let go; may be called
 * again then.
 */
int pv_vm_unplug_vsock(struct pv_vm *vm, int64_t deadline, struct pv_err *err);

/* The overlay of disk i, as long as the VM is not freed; -1: it has none. */
int pv_vm_overlay(const struct pv_vm *vm, size_t i);

/* ---- dirty.c: what a guest with PRIVATE memory has changed of it ---- */

struct pv_pages {
    struct pv_page_run {
        uint64_t first, n; /* pages of 4096 bytes */
    } * runs;
    size_t n_runs;
    uint64_t n_pages;
    int fd; /* memfd: the pages of all runs, one behind the other; -1: none */
};

/*
 * Reads QEMU's memory through /proc: it must be a child of this process (Yama) and stopped.  Zero-initialised
 * *out.  Class host.
 */
int pv_vm_pages_get(const struct pv_vm *vm, struct pv_pages *out, struct pv_err *err);
/* Into an `incoming` VM whose monitor has answered, before pv_vm_load. */
int pv_vm_pages_put(const struct pv_vm *vm, const struct pv_pages *p, struct pv_err *err);
/* Writes them to where they belong in a memory file. */
int pv_pages_apply(const struct pv_pages *p, int memory_fd, struct pv_err *err);
void pv_pages_fini(struct pv_pages *p);

/* First line of `qemu --version` as "7.2.22", by running it; for doctor. The caller frees. */
char *pv_qemu_version(const char *qemu, struct pv_err *err);

#endif

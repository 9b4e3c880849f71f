/* SPDX-License-Identifier: MIT */
/*
 * The life of a QEMU process: start, end, and why it ended.  The room knows nothing of agents, archives or
 * profiles; it takes paths and descriptors (spec.h).
 *
 * A pv_vm is one QEMU process.  It is started once and ends once.  The loop watches its pidfd, so the end is
 * noticed during any wait.
 */
#ifndef PV_VM_VM_H
#define PV_VM_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pv_conlog;
struct pv_console;
struct pv_err;
struct pv_finding;
struct pv_loop;
struct pv_vm;
struct pv_vm_spec;

enum pv_vm_state { PV_VM_RUNNING, PV_VM_ENDED };

/*
 * Starts QEMU.  The descriptors of *spec stay the caller's, to close after the call.  log: the console
 * log, borrowed while the VM lives; NULL: none.  Errors: QEMU not found, class missing, names the Debian package; a
 * snapshot disk that cannot be read or more than PV_VM_DISKS_MAX disks, class usage.  A QEMU that refuses its
 * command line is started and ends, with its reason.
 *
 * on_end (may be NULL) is called from the loop, once, when QEMU has exited, or the kernel has panicked and does
 * not go on, or the guest stands still (pv_vm_end_reason says why).  It may call pv_vm_kill, not pv_vm_free.  pv_vm_kill does not call
 * it.
 */
struct pv_vm *pv_vm_start(struct pv_loop *loop, const struct pv_vm_spec *spec, struct pv_conlog *log,
                          void (*on_end)(struct pv_vm *vm, void *arg), void *arg, struct pv_err *err);

/*
 * Sends SIGKILL unless QEMU has ended, reaps, and reads the rest of the console.  Blocks for the time the
 * kernel needs to end the process.  Idempotent.
 */
void pv_vm_kill(struct pv_vm *vm);
/* pv_vm_kill and free; NULL is fine. */
void pv_vm_free(struct pv_vm *vm);

/* Stops all vCPUs, and lets them run again.  Block (run the loop). */
int pv_vm_stop(struct pv_vm *vm, int64_t deadline, struct pv_err *err);
int pv_vm_cont(struct pv_vm *vm, int64_t deadline, struct pv_err *err);

enum pv_vm_state pv_vm_state(const struct pv_vm *vm);
pid_t pv_vm_pid(const struct pv_vm *vm);
int pv_vm_pidfd(const struct pv_vm *vm); /* stays the VM's */
/* Whether a signal such as SIGSTOP holds the process. */
bool pv_vm_is_stopped(const struct pv_vm *vm);
const struct pv_console *pv_vm_console(const struct pv_vm *vm);
/* The VM has another owner: what its log has goes to that owner's log, which takes its place. */
void pv_vm_move_log(struct pv_vm *vm, struct pv_conlog *log);

/*
 * Something has ended that its guest cannot go on without, and waits for: unless QEMU ends by itself within a second, the
 * VM ends, and `why` (copied) is the reason.
 */
void pv_vm_lost(struct pv_vm *vm, const char *why);

/*
 * Why it ended, one sentence, the most specific cause first: the guest init's fatal line, the kernel's panic
 * text, what it has lost (pv_vm_lost), how the guest stands still, QEMU's own stderr with its exit status ("QEMU refused to start: ..."), "the guest powered off",
 * "the guest rebooted", "QEMU was killed by SIGKILL".  Borrowed; "" while it runs.
 */
const char *pv_vm_end_reason(const struct pv_vm *vm);
/* True when it ended because the guest asked for power-off or reboot. */
bool pv_vm_guest_powered_off(const struct pv_vm *vm);
/* True when it ended because its kernel panicked. */
bool pv_vm_panicked(const struct pv_vm *vm);

/* pv_starved() of its QEMU; 0: it has ended. */
int64_t pv_vm_starved(const struct pv_vm *vm);

/* True when it was ended because its guest stood still (stuck.c says when it does). */
bool pv_vm_stuck(const struct pv_vm *vm);
/*
 * True when neither its guest nor this process wanted the end, and the kernel did not panic: QEMU crashed, failed or was
 * killed by another process, the guest stood still, or the guest init gave up.
 */
bool pv_vm_failed(const struct pv_vm *vm);
/* True when it has ended by SIGKILL: of this process, of a preemption, of the host's OOM killer. */
bool pv_vm_was_sigkilled(const struct pv_vm *vm);

/*
 * Calls fn from the loop when the guest closes the agent's port of the virtio-serial device, unless by a reset of the
 * machine.  fn must not call into the VM.
 */
void pv_vm_on_port_closed(struct pv_vm *vm, void (*fn)(void *arg), void *arg);

/*
 * Calls fn for each finding (findings.h) on the console from now on: from the loop, and from
 * pv_vm_settle_findings and pv_vm_kill for a report without its end.  Call it right after the start; again,
 * with another fn (NULL: none), when the VM gets another owner.
 */
void pv_vm_on_finding(struct pv_vm *vm, void (*fn)(const struct pv_finding *finding, void *arg), void *arg);
/*
 * Calls fn with all bytes of the console from now on, as they come: from the loop, and from pv_vm_kill and
 * pv_vm_settle_findings.  fn must not call into the VM.
 */
void pv_vm_on_console(struct pv_vm *vm, void (*fn)(const void *data, size_t n, void *arg), void *arg);
/*
 * Input for the guest's serial line: queued (copied) and sent from the loop as the guest takes it.  The unsent
 * bytes end with the VM.
 */
void pv_vm_console_write(struct pv_vm *vm, const void *data, size_t n);
size_t pv_vm_console_unsent(const struct pv_vm *vm);
void pv_vm_console_drop_unsent(struct pv_vm *vm);
/*
 * Reads all console bytes that QEMU has written by now, so that every kernel report from before an agent's
 * reply that has arrived is a finding.  Does not wait.
 */
void pv_vm_settle_findings(struct pv_vm *vm);

/*
 * Any program in the guest can write a panic's lines (/dev/kmsg), and a kernel that has panicked may neither
 * reboot nor make QEMU exit (panic=0 in `append`), or hang while it prints.  So `ask`, called from the loop 100 ms
 * behind a panic line, makes the agent send something; false: it was not met yet.  A guest that stays silent is
 * declared dead 5 s later, or half a second behind the last line of a whole panic report.
 */
void pv_vm_on_panic_hint(struct pv_vm *vm, bool (*ask)(void *arg), void *arg);
/* Tells the VM that bytes came from the agent, which withdraws the panic hints.  Cheap. */
void pv_vm_alive_hint(struct pv_vm *vm);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * One run of a machine: QEMU, the channel, the session with the VM's own agent, the memory file, the vsock
 * device, the lease.  A guest has one instance at a time, or none; boot, resume and restore
 * make one, a standby VM's instance is adopted by another guest, pv_guest_end frees it.  Private to the room.
 *
 *     i = pv_instance_new(loop, lease);
 *     pv_instance_set_machine(i, m);
 *     pv_instance_set_channel(i, c);
 *     pv_instance_make_memory(i, m, &spec, err);
 *     pv_instance_start(i, &spec, log, err);
 *     ...
 *     pv_instance_end(i, &record);  pv_instance_free(i);
 */
#ifndef PV_GUEST_INSTANCE_H
#define PV_GUEST_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_buf;
struct pv_channel;
struct pv_conlog;
struct pv_err;
struct pv_finding;
struct pv_guest_end;
struct pv_guest_shares;
struct pv_instance;
struct pv_loop;
struct pv_machine;
struct pv_nic_sockets;
struct pv_recording;
struct pv_session;
struct pv_snapshot;
struct pv_vm;
struct pv_vm_lease;
struct pv_vm_spec;
struct pv_vsock_device;

enum { PV_CONSOLE_TAIL_LINES = 20 }; /* of an end record and of errors */

/* Takes the lease, which may be NULL. */
struct pv_instance *pv_instance_new(struct pv_loop *loop, struct pv_vm_lease *lease);
/* Ends QEMU, releases the lease, frees all of it. NULL is fine. */
void pv_instance_free(struct pv_instance *i);

/* ---- before the start; each setter takes its argument ---- */

void pv_instance_set_machine(struct pv_instance *i, struct pv_machine *m);
void pv_instance_set_channel(struct pv_instance *i, struct pv_channel *c);
/* The snapshot whose memory file is mapped: keeps a reference. */
void pv_instance_set_base(struct pv_instance *i, struct pv_snapshot *s);
/*
 * A new memory file of the machine's size for *spec, for a machine that is saved or shares its memory.  Its size
 * is sealed, as a vhost-user back end requires (vhost.h).  Class host.
 */
int pv_instance_make_memory(struct pv_instance *i, const struct pv_machine *m, struct pv_vm_spec *spec,
                            struct pv_err *err);
/* Starts QEMU on the channel; log: as of pv_vm_start, as are the errors. */
int pv_instance_start(struct pv_instance *i, struct pv_vm_spec *spec, struct pv_conlog *log,
                      struct pv_err *err);

/* ---- the lease, which may move between instances ---- */

/* Releases the present one, takes l. */
void pv_instance_set_lease(struct pv_instance *i, struct pv_vm_lease *l);
/* The caller's afterwards; NULL: it has none. */
struct pv_vm_lease *pv_instance_take_lease(struct pv_instance *i);

/* ---- while it runs ---- */

/* True once QEMU has ended by itself; the loop notices it. */
bool pv_instance_ended(const struct pv_instance *i);
/* True at the first call only: at the first broken channel the caller waits a moment for QEMU's end. */
bool pv_instance_take_grace(struct pv_instance *i);
/*
 * fn is called for each finding on the console, from the loop or from pv_instance_settle_findings.  Without
 * an observer at most 64 warnings and 64 worse findings are kept, which this call passes to fn, and one that
 * counts the others.  fn NULL removes the observer.
 */
void pv_instance_observe(struct pv_instance *i, void (*fn)(const struct pv_finding *finding, void *arg),
                         void *arg);
void pv_instance_settle_findings(struct pv_instance *i);
/* fn is called from the loop after each reset of the machine, as of pv_vm_on_reset; NULL: none. */
void pv_instance_on_reset(struct pv_instance *i, void (*fn)(const char *panic, void *arg), void *arg);
/* fn is called from the loop while QEMU stands still, as of pv_vm_on_frozen; NULL: none. */
void pv_instance_on_frozen(struct pv_instance *i, void (*fn)(void *arg), void *arg);
/* The next broken channel gets a moment again. */
void pv_instance_renew_grace(struct pv_instance *i);
/* True when the machine could not boot after a reset: it was started without a kernel. */
bool pv_instance_bootless(const struct pv_instance *i);
/* Bytes of the console go to this recording, those of its own recording first. NULL: to none. */
void pv_instance_record(struct pv_instance *i, struct pv_recording *to);
/* Takes r, which gets the bytes until the instance is adopted. */
void pv_instance_own_recording(struct pv_instance *i, struct pv_recording *r);

struct pv_guest_shares *pv_instance_shares(struct pv_instance *i);   /* of its directories of the host */
struct pv_nic_sockets *pv_instance_nics(struct pv_instance *i);      /* of its NICs */
struct pv_vm *pv_instance_vm(const struct pv_instance *i);           /* NULL before the start */
struct pv_channel *pv_instance_channel(const struct pv_instance *i); /* NULL before it is set */
/* The description of its machine, to note the devices that come and go. */
struct pv_machine *pv_instance_edit_machine(struct pv_instance *i);
const struct pv_machine *pv_instance_machine(const struct pv_instance *i);
const struct pv_snapshot *pv_instance_base(const struct pv_instance *i); /* NULL: it was booted */
int pv_instance_memory_fd(const struct pv_instance *i);                  /* -1: its base's memory is mapped */

struct pv_session *pv_instance_session(const struct pv_instance *i); /* NULL: none is open */
/* Closes the present one, takes s (NULL: none). */
void pv_instance_set_session(struct pv_instance *i, struct pv_session *s);

/*
 * Auxiliary sessions: further connections to the VM's agent, each served by a process of its own.  The list
 * is in the order of their opening; agent-conn.c decides about them.
 */
enum pv_aux_use {
    PV_AUX_IDLE, /* connected, for the next request */
    PV_AUX_BUSY, /* connecting, or a request is under way */
    PV_AUX_HELD, /* kept by the caller of pv_agent_open_aux */
};
struct pv_aux {
    struct pv_session *session;
    enum pv_aux_use use;
    uint32_t
        copy_of; /* pid of the main session's process, of which it is a fork; 0: in the state of the boot */
    uint64_t version; /* of that process then */
    struct pv_aux *next;
};
struct pv_aux *pv_instance_aux(const struct pv_instance *i); /* the first; NULL: none */
/* A new entry at the end, without a session. */
struct pv_aux *pv_instance_add_aux(struct pv_instance *i);
/* Closes its session, if there is one, and frees the entry. */
void pv_instance_drop_aux(struct pv_instance *i, struct pv_aux *aux);
/* Closes all sessions with the VM's agent: requests that are under way fail. */
void pv_instance_close_sessions(struct pv_instance *i);

/* The guest's own vsock device while one is plugged in. */
struct pv_vsock_device *pv_instance_vsock(const struct pv_instance *i);
/* Frees the present one, takes d (NULL: none). */
void pv_instance_set_vsock(struct pv_instance *i, struct pv_vsock_device *d);
/* The CID of its own vsock device, the same each time that it is plugged in. */
unsigned pv_instance_vsock_cid(const struct pv_instance *i);
/* A CID that only this guest sees; random, so that no test relies on its value. */
unsigned pv_random_cid(void);

/* Bytes came from an agent process. */
void pv_instance_alive(struct pv_instance *i);
/* Closes the connection that asks the agent for a sign of life: before a save, which needs an idle agent. */
void pv_instance_stop_asking(struct pv_instance *i);
/* The text of the console's panic line; NULL: none, or the guest has shown signs of life since. */
const char *pv_instance_panic_hint(const struct pv_instance *i);
bool pv_instance_panicked(const struct pv_instance *i);
void pv_instance_console_tail(const struct pv_instance *i, unsigned lines, struct pv_buf *out);

/* ---- its end ---- */

/*
 * Kills QEMU unless it has ended, and reads the rest of the console, whose findings go to the observer.
 * Fills all of *e but the reason.
 */
void pv_instance_end(struct pv_instance *i, struct pv_guest_end *e);

/*
 * Between hold and release, the machine stops and runs again with its vsock connections; was_reset: they end at the
 * release. A machine with a debugger, who stops it unasked, is held all its life.
 */
void pv_instance_hold_vsock(struct pv_instance *i);
void pv_instance_release_vsock(struct pv_instance *i, bool was_reset);

/* Takes the path of the debugger's socket, which is removed with the instance. */
void pv_instance_set_gdb(struct pv_instance *i, char *path);

#endif

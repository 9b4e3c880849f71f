/* SPDX-License-Identifier: MIT */
/*
 * QMP, the protocol of QEMU's monitor: newline-separated JSON over a socket.
 *
 * The client waits for the greeting and negotiates the capabilities in the loop.  Events go to a callback.
 * The peer is QEMU, which a guest may have taken over: a line that is too long, no JSON, or of no known shape
 * breaks the monitor for good (pv_qmp_fault says why) and nothing else.
 */
#ifndef PV_VM_QMP_H
#define PV_VM_QMP_H

#include <stdbool.h>
#include <stdint.h>

struct json_t;
struct pv_err;
struct pv_loop;
struct pv_qmp;
struct pv_vm;

/*
 * Runs one QMP command of a VM ("query-status", NULL or a JSON object of arguments as text) and waits for its
 * reply until the deadline.  *reply (may be NULL) gets the "return" value as JSON text (the caller frees).
 * Errors: see pv_qmp_call.  Blocks (runs the loop).
 */
int pv_vm_qmp(struct pv_vm *vm, const char *command, const char *arguments, char **reply, int64_t deadline,
              struct pv_err *err);

/* ---- the client, private to vm ---- */

enum { PV_QMP_LINE_MAX = 4 << 20 };

/*
 * data (borrowed) is the event's "data" object, or NULL.  The callback may call pv_qmp_post and no other
 * function of the client.
 */
typedef void pv_qmp_event_fn(void *arg, const char *event, const struct json_t *data);

/* Takes fd, a connected socket.  NULL with *err when the loop cannot watch it. */
struct pv_qmp *pv_qmp_take_fd(struct pv_loop *loop, int fd, pv_qmp_event_fn *on_event, void *arg,
                              struct pv_err *err);
void pv_qmp_free(struct pv_qmp *q); /* NULL is fine */

/* True once QEMU has accepted the capabilities (its main loop runs), also after the monitor's end. */
bool pv_qmp_was_ready(const struct pv_qmp *q);

/* Why the monitor cannot be used any more, the peer's end of stream included; NULL while it can. */
const char *pv_qmp_fault(const struct pv_qmp *q);

/* Reads what the socket holds without waiting, events included: for after QEMU's exit. */
void pv_qmp_drain(struct pv_qmp *q);

/*
 * See pv_vm_qmp.  Classes: an error reply is host, a broken monitor protocol, its end guest-died, a late reply
 * timeout, bad arguments usage.  One call at a time: not from callbacks of the loop.
 */
int pv_qmp_call(struct pv_qmp *q, const char *command, const char *arguments, char **reply, int64_t deadline,
                struct pv_err *err);

/* Passes a copy of a descriptor to QEMU under a name ("getfd"); fd stays the caller's. */
int pv_qmp_pass(struct pv_qmp *q, int fd, const char *name, int64_t deadline, struct pv_err *err);

/*
 * Passes a copy of a descriptor as the set /dev/fdset/SET ("add-fd"), which QEMU opens where it takes a path, and only
 * for the access with which fd was opened.  "remove-fd" ends the set.
 */
int pv_qmp_add_fd(struct pv_qmp *q, int fd, unsigned set, int64_t deadline, struct pv_err *err);

/* Called with the "return" value (borrowed), or NULL for an error. Must not call into the monitor. */
typedef void pv_qmp_reply_fn(void *arg, const struct json_t *value);

/*
 * Sends a command (arguments: a JSON object, or NULL) and does not wait; on_reply gets the monitor's own `arg`.
 * Sends nothing, and returns false, before the monitor is ready, once it is broken, or while the replies to three
 * earlier posts are due.
 */
bool pv_qmp_post(struct pv_qmp *q, const char *command, const char *arguments, pv_qmp_reply_fn *on_reply);

#endif

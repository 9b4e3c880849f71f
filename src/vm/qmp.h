/* SPDX-License-Identifier: MIT */
/*
 * QEMU's monitor over a socket: newline-separated JSON.  Private to vm.
 *
 * The greeting is waited for and the capabilities are negotiated by itself, in the loop.  Events go to a
 * callback.  The peer is QEMU, which a guest may have taken over: a line that is too long, no JSON, or of no
 * known shape breaks the monitor for good (pv_qmp_fault says why) and nothing else.
 */
#ifndef PV_VM_QMP_H
#define PV_VM_QMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t;
struct pv_err;
struct pv_loop;
struct pv_qmp;

enum { PV_QMP_LINE_MAX = 4 << 20 };

/* data (borrowed) is the event's "data" object, or NULL. Of the monitor's functions only pv_qmp_post is
 * allowed. */
typedef void pv_qmp_event_fn(void *arg, const char *event, const struct json_t *data);

/* Takes fd, a connected socket. */
struct pv_qmp *pv_qmp_take_fd(struct pv_loop *loop, int fd, pv_qmp_event_fn *on_event, void *arg,
                              struct pv_err *err);
void pv_qmp_free(struct pv_qmp *q); /* NULL is fine */

/*
 * True once QEMU has accepted the capabilities (its machine is made and its main loop runs), also after its
 * end.
 */
bool pv_qmp_was_ready(const struct pv_qmp *q);

/* Why the monitor can not be used any more; NULL while it can. The peer's end of stream is such a reason. */
const char *pv_qmp_fault(const struct pv_qmp *q);

/* Reads what is there without waiting, events included: for the time when QEMU has exited. */
void pv_qmp_drain(struct pv_qmp *q);

/*
 * See pv_vm_qmp.  An error that QEMU answers is class host; a broken monitor is class protocol, its end
 * class guest-died.  One call at a time: not from callbacks of the loop.
 */
int pv_qmp_call(struct pv_qmp *q, const char *command, const char *arguments, char **reply, int64_t deadline,
                struct pv_err *err);

/* Gives QEMU a descriptor, which stays the caller's as well, under a name ("getfd"). */
int pv_qmp_pass(struct pv_qmp *q, int fd, const char *name, int64_t deadline, struct pv_err *err);

/* Called with the "return" value (borrowed), or NULL for an error. Must not call into the monitor. */
typedef void pv_qmp_reply_fn(void *arg, const struct json_t *value);

/*
 * Sends a command without arguments and does not wait; `arg` is the monitor's own.  Before the monitor is
 * ready, while it is broken, and while an earlier one is not answered yet: nothing.
 */
void pv_qmp_post(struct pv_qmp *q, const char *command, pv_qmp_reply_fn *on_reply);

#endif

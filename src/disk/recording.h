/* SPDX-License-Identifier: MIT */
/*
 * A recording of the writes, discards, write-zeroes and flushes of disks, in one order, and the states in which a
 * power failure could have left the disks.
 *
 *     struct pv_disk_recording *r = pv_disk_recording_start(disks, 1, dir, &err);
 *     pv_disk_recording_mark(r, "committed 3");
 *     pv_disk_recording_stop(r);
 *     struct pv_states *s = pv_states_new(r, &opts, &err);
 *     while ((st = pv_states_next(s, &err)))
 *         pv_state_image(st, 0, &err) ... pv_state_unref(st);
 *     pv_states_free(s);
 *
 * Nothing here runs the loop.  A recording's data is in an unlinked file of `dir`.
 */
#ifndef PV_DISK_RECORDING_H
#define PV_DISK_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_buf;
struct pv_disk;
struct pv_disk_image;
struct pv_err;
struct pv_disk_recording;
struct pv_state;
struct pv_states;

enum { PV_DISK_RECORDING_DISKS = 16, PV_DISK_RECORDING_MARK = 1024, PV_DISK_RECORDING_EXHAUSTIVE = 20 };
#define PV_DISK_RECORDING_BYTES (UINT64_C(16) << 30) /* most data of a recording */
#define PV_DISK_RECORDING_EVENTS 4000000             /* most events of a recording */

/* Reference-counted.  What is on the disks now is in all states.  NULL: class usage (number of disks, a disk that
   is being recorded already), else host. */
struct pv_disk_recording *pv_disk_recording_start(struct pv_disk *const *disks, size_t n, const char *dir,
                                                  struct pv_err *err);
struct pv_disk_recording *pv_disk_recording_ref(struct pv_disk_recording *r);
void pv_disk_recording_unref(struct pv_disk_recording *r); /* NULL is fine; stops it when it was the last */
/* -1: class usage: stopped, too long, or a byte 0. */
int pv_disk_recording_mark(struct pv_disk_recording *r, const char *text, struct pv_err *err);
/* Ends it.  -1: a host error or a limit cut the recording short; there are no states of it. */
int pv_disk_recording_stop(struct pv_disk_recording *r, struct pv_err *err);
bool pv_disk_recording_stopped(const struct pv_disk_recording *r);

struct pv_disk_recording_stats {
    uint64_t writes, flushes; /* writes: discards and write-zeroes too */
    uint64_t bytes;           /* of the writes */
    uint64_t states;          /* of the last complete iteration; 0: none was complete */
};

void pv_disk_recording_stats(const struct pv_disk_recording *r, struct pv_disk_recording_stats *s);
size_t pv_disk_recording_disks(const struct pv_disk_recording *r);
const char *pv_disk_recording_disk_name(const struct pv_disk_recording *r, size_t disk);

/* Of a stopped recording; replaces an existing file.  load checks all fields: class protocol. */
int pv_disk_recording_save(struct pv_disk_recording *r, const char *path, struct pv_err *err);
struct pv_disk_recording *pv_disk_recording_load(const char *path, const char *dir, struct pv_err *err);

/* ---- states ---- */

struct pv_states_opts {
    bool at_write; /* one state for each write; else one for each flush */
    unsigned samples;
    bool torn;
    unsigned exhaustive; /* at most PV_DISK_RECORDING_EXHAUSTIVE */
    uint64_t seed;
};

/* An iteration; takes a reference to r.  NULL: class usage: not stopped, a bad option. */
struct pv_states *pv_states_new(struct pv_disk_recording *r, const struct pv_states_opts *o,
                                struct pv_err *err);
void pv_states_free(struct pv_states *s); /* NULL is fine */
/* The next state, which the caller owns; NULL with err untouched: the end; NULL with *err set: class host. */
struct pv_state *pv_states_next(struct pv_states *s, struct pv_err *err);
/* The state with this number.  NULL: class usage: there is none. */
struct pv_state *pv_disk_recording_state(struct pv_disk_recording *r, uint64_t number,
                                         const struct pv_states_opts *o, struct pv_err *err);

/* The number of the state of these options that has the same content and marks as st; 0: there is none. */
uint64_t pv_disk_recording_number(struct pv_disk_recording *r, const struct pv_state *st,
                                  const struct pv_states_opts *o);

struct pv_state *pv_state_ref(struct pv_state *st);
void pv_state_unref(struct pv_state *st);            /* NULL is fine */
uint64_t pv_state_number(const struct pv_state *st); /* from 1 */
size_t pv_state_marks(const struct pv_state *st);
const char *pv_state_mark(const struct pv_state *st, size_t i);
/* "lost: write 4 of 9, 8 KiB at 12288, after flush 2" */
void pv_state_describe(const struct pv_state *st, struct pv_buf *out);
int pv_state_read(struct pv_state *st, size_t disk, uint64_t offset, void *to, size_t n, struct pv_err *err);
/* The disk's content, for pv_disk_opts.image; the caller owns a reference.  It shares the recording's data. */
struct pv_disk_image *pv_state_image(struct pv_state *st, size_t disk, struct pv_err *err);

/*
 * Makes a failing state smaller: a search for a state that fails and lost fewer writes.  Stepwise, because the
 * caller's check takes long:
 *
 *     m = pv_minimise_new(st);
 *     while ((t = pv_minimise_next(m)))
 *         pv_minimise_result(m, check(t) fails);           takes t's turn; at most `limit` turns
 *     best = pv_minimise_free(m);                          the caller owns the smallest failing state
 */
struct pv_minimise;
struct pv_minimise *pv_minimise_new(struct pv_state *st, unsigned limit);
struct pv_state *pv_minimise_next(struct pv_minimise *m); /* borrowed; NULL: done */
void pv_minimise_result(struct pv_minimise *m, bool fails);
struct pv_state *pv_minimise_free(struct pv_minimise *m);

#endif

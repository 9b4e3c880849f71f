/* SPDX-License-Identifier: MIT */
/*
 * The recording of a console: all its bytes as they came, and the same with CR LF as LF.  A guest's recording
 * goes on over all its runs.  Private to the room but for console.h.
 */
#ifndef PV_GUEST_RECORDING_H
#define PV_GUEST_RECORDING_H

#include <stddef.h>

struct pv_recording;
struct pv_spool;

/* dir: as of pv_spool_new. */
struct pv_recording *pv_recording_new(const char *dir);
/* fn is told of the text as it is added (with CR LF as LF), marks included. */
void pv_recording_tap(struct pv_recording *r, void (*fn)(const void *data, size_t n, void *arg), void *arg);
void pv_recording_free(struct pv_recording *r); /* NULL is fine; readers keep its spools */

void pv_recording_add(struct pv_recording *r, const void *data, size_t n);
/* Adds the line "[provium: WHAT]", on a line of its own. */
void pv_recording_mark(struct pv_recording *r, const char *what);
/* Adds all bytes of another recording. */
void pv_recording_append(struct pv_recording *r, struct pv_recording *from);
/* The end of a run: a CR whose next byte did not come is a byte of its own. */
void pv_recording_flush(struct pv_recording *r);

struct pv_spool *pv_recording_text(const struct pv_recording *r);
struct pv_spool *pv_recording_raw(const struct pv_recording *r);

#endif

/* SPDX-License-Identifier: MIT */
/* Of the room only: the members of a recording, its analysis and a state. */
#ifndef PV_DISK_REC_H
#define PV_DISK_REC_H

#include "disk/frozen.h"
#include "disk/internal.h"
#include "disk/recording.h"
#include "util/err.h"

enum pv_rec_kind { PV_REC_WRITE, PV_REC_DISCARD, PV_REC_ZERO, PV_REC_FLUSH, PV_REC_MARK };

/* One of a recording's events; also the form in its file. */
struct pv_rec_event {
    uint8_t kind;    /* pv_rec_kind */
    uint8_t durable; /* a write with FUA, or the host's */
    uint16_t disk;
    uint32_t mark;    /* of a mark: its index */
    uint64_t at, len; /* whole sectors */
    uint64_t from;    /* of a write: in the blob; PV_EXTENT_ZERO: zeroes */
};

struct pv_rec_disk {
    char *name;
    unsigned sector;
    uint64_t size;
    struct pv_layer *base; /* the content at the start */
    struct pv_disk *live;  /* while it is recorded */
    struct pv_disk_sink sink;
    struct pv_disk_recording *rec;
    uint16_t index;
};

struct pv_analysis;

struct pv_disk_recording {
    unsigned refs;
    size_t n_disks;
    struct pv_rec_disk *disks;
    struct pv_rec_event *events;
    size_t n_events, cap;
    struct pv_strv marks;
    struct pv_blob *blob;
    uint64_t data_at, data_end; /* in the blob: where the data begins, and its length */
    bool stopped;
    bool failed; /* `error` cut it short */
    struct pv_err error;
    struct pv_disk_recording_stats stats;
    struct pv_analysis *analysis; /* made by the first iteration */
    char *dir;
};

struct pv_disk_recording *pv_disk_recording_alloc(const char *dir, size_t n_disks);
struct pv_rec_event *pv_disk_recording_add(struct pv_disk_recording *r);

/* For fuzzing: sets the checksum in the header of a file of n bytes; false: it is too short. */
bool pv_disk_recording_fix_hash(void *file, size_t n);

/* ---- analysis.c ---- */

#define PV_NEVER SIZE_MAX

/* A write, discard or write-zeroes. */
struct pv_rec_write {
    size_t event;
    size_t forced;    /* index of the event behind which it is durable; PV_NEVER */
    size_t lo, hi;    /* its sectors in the disk's list */
    uint64_t *hashes; /* of its sectors' content; NULL: zeroes */
    uint32_t flushes; /* flushes before it */
};

struct pv_rec_sectors {
    uint64_t
        *at; /* sorted numbers of the sectors that some write changes and that may differ between states */
    size_t n;
    uint64_t *base; /* hashes of the content at the start */
};

struct pv_rec_flush {
    size_t event;
    size_t writes; /* writes before it */
};

struct pv_analysis {
    struct pv_rec_write *writes;
    size_t n_writes;
    struct pv_rec_flush *flushes;
    size_t n_flushes;
    size_t *marks; /* their events */
    size_t n_marks;
    size_t *forced_min; /* [i]: the smallest `forced` of writes i and later; n_writes + 1 entries */
    struct pv_rec_sectors *sectors; /* for each disk */
};

/* NULL: class host. */
struct pv_analysis *pv_disk_recording_analyse(struct pv_disk_recording *r, struct pv_err *err);
void pv_analysis_free(struct pv_analysis *a, size_t n_disks);

/* ---- state.c ---- */

enum { PV_LOST, PV_KEPT, PV_TORN };

/*
 * Writes before lo are kept, those from hi on had not been made.  Of the writes between, `keep` has PV_LOST, PV_KEPT
 * or PV_TORN, and `torn` a byte for each listed sector of the torn ones, in their order: 1: it was kept.
 */
struct pv_state {
    unsigned refs;
    struct pv_disk_recording *rec;
    uint64_t number;
    size_t lo, hi;
    uint8_t *keep;
    uint8_t *torn;
    size_t n_torn;
    size_t marks;
    size_t flush;              /* of a state at a flush: its number from 1; else 0 */
    struct pv_layer **content; /* of each disk, made when it is needed */
};

/* Copies keep and torn. */
struct pv_state *pv_state_new(struct pv_disk_recording *r, size_t lo, size_t hi, const uint8_t *keep,
                              const uint8_t *torn, size_t n_torn);
/* The number of marks under which it can be found at most. */
size_t pv_state_count_marks(const struct pv_analysis *a, size_t lo, size_t hi, const uint8_t *keep);

#endif

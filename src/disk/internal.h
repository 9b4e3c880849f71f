/* SPDX-License-Identifier: MIT */
/* Of the room only: the disk, its cache and its connection. */
#ifndef PV_DISK_INTERNAL_H
#define PV_DISK_INTERNAL_H

#include "disk/disk.h"
#include "disk/image.h"
#include "disk/layer.h"
#include "disk/rule.h"
#include "loop/loop.h"
#include "util/mem.h"

enum pv_change_kind { PV_CHANGE_WRITE, PV_CHANGE_DISCARD, PV_CHANGE_ZERO };

/* A write, discard or write-zeroes.  from: where a write's data is in the file beside it. */
struct pv_change {
    enum pv_change_kind kind;
    bool durable;
    uint64_t at, len, from;
};

/* Changes in their order, and the file with their data. */
struct pv_changes {
    struct pv_change *v;
    size_t n;
    struct pv_blob *log; /* NULL without changes */
};

void pv_changes_fini(struct pv_changes *c);

/* Bytes that a change replaced; PV_OLD_ABSENT: the layer had none of its own there. */
struct pv_old {
    uint64_t at, len;
    uint64_t from; /* in the log */
};
#define PV_OLD_ABSENT UINT64_MAX

struct pv_pending {
    struct pv_change c;
    size_t old, n_old; /* of the cache's list */
    uint64_t log_end;  /* of the log behind it */
};

/* Changes that a power cut may lose, and durable ones among them: v[first..n), in their order. */
struct pv_cache {
    struct pv_pending *v;
    size_t first, n, cap;
    struct pv_old *old;
    size_t n_old, cap_old;
    struct pv_blob *log; /* replaced bytes, [log_begin, log_end); holes before log_holes */
    uint64_t log_begin, log_end, log_holes;
    uint64_t unflushed; /* bytes of the changes that are not durable */
};

/* Gets what happens to a disk: a recording.  data: len bytes, or NULL. */
struct pv_disk_sink {
    void (*change)(struct pv_disk_sink *s, enum pv_change_kind kind, uint64_t at, uint64_t len,
                   const void *data, bool durable);
    void (*flush)(struct pv_disk_sink *s);
    void (*end)(
        struct pv_disk_sink *s); /* the disk's power is cut, or the disk goes; the sink takes itself off */
};

struct pv_nbd;

struct pv_disk {
    struct pv_loop *loop;
    char *name, *dir;
    unsigned sector;
    bool readonly;
    struct pv_layer *store; /* what the guest reads */
    struct pv_cache cache;
    struct pv_disk_sink *sink;
    struct pv_nbd *nbd; /* the connection, or NULL */
    struct pv_disk_stats stats;
    bool stopped, swallow, held, hangs;
    struct pv_rules *rules;
    struct pv_trigger {
        enum pv_disk_op op;
        uint64_t left;
        void (*fn)(struct pv_disk *d, void *arg);
        void *arg;
        bool fired;
    } trigger;
    struct pv_timer notify; /* calls the owner's callbacks */
};

/* ---- cache.c: what a request does; -1 with errno ---- */

int pv_cache_init(struct pv_disk *d, struct pv_err *err);
void pv_cache_fini(struct pv_disk *d);
int pv_cache_read(struct pv_disk *d, uint64_t at, void *to, size_t n);
int pv_cache_write(struct pv_disk *d, uint64_t at, const void *data, size_t n, bool durable);
int pv_cache_zero(struct pv_disk *d, enum pv_change_kind kind, uint64_t at, uint64_t n, bool durable);
void pv_cache_flush(struct pv_disk *d);
/* Takes all changes back: leaves the durable content, and an empty cache.  -1 with *err: class host. */
int pv_cache_withdraw(struct pv_disk *d, struct pv_changes *out, struct pv_err *err);
/* Makes changes, which are in the cache then; nothing of it is recorded. */
int pv_cache_adopt(struct pv_disk *d, const struct pv_change *v, size_t n, const struct pv_blob *log);
/* Applies a change, or a part of it, to a layer. */
int pv_change_apply(const struct pv_change *c, const struct pv_blob *log, struct pv_layer *to, uint64_t at,
                    uint64_t len);

/* ---- nbd.c ---- */

void pv_nbd_close(struct pv_nbd *c);
/* Requests that wait are looked at again. */
void pv_nbd_wake(struct pv_nbd *c);
/* ... and none is delayed any more; errnum: all fail by it, at once unless the disk hangs or is held; 0: none. */
void pv_nbd_release(struct pv_nbd *c, int errnum);
/* Reads what QEMU has sent, as far as there is room. */
void pv_nbd_drain(struct pv_nbd *c);

/* ---- rule.c ---- */

/* A guest's request as the rules see it, and their decision. */
struct pv_verdict {
    int errnum;  /* 0: carried out */
    int64_t due; /* 0: at once */
};

struct pv_verdict pv_rules_judge(struct pv_disk *d, enum pv_disk_op op, uint64_t at, uint64_t len);
void pv_rules_notify(struct pv_disk *d);
void pv_rules_free(struct pv_disk *d);

/* splitmix64: the next number of the sequence. */
static inline uint64_t pv_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif

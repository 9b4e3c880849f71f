/* SPDX-License-Identifier: MIT */
/*
 * Fault rules of a disk: requests that fail, wait, or hang.
 *
 *     struct pv_disk_fail f = PV_DISK_FAIL_INIT;
 *     f.op = PV_DISK_WRITE, f.from = 4096, f.to = 8191, f.after = 2, f.times = 1;
 *     struct pv_disk_rule *r = pv_disk_fail(d, &f, &err);       the third write that touches these bytes
 *
 * A request is one of the guest: parts into which QEMU splits one of more than PV_DISK_MAX_TRANSFER bytes have one
 * fate and count once.  Of several failing rules the first one added that hits decides, and the later ones do not
 * see the request; delays add up, and come before a failure.
 */
#ifndef PV_DISK_RULE_H
#define PV_DISK_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/disk.h"

struct pv_disk_rule;

struct pv_disk_fail {
    enum pv_disk_op op;
    uint64_t from, to; /* bytes, `to` inclusive; with a range, flushes never match */
    int errnum;        /* one that pv_disk_errno_ok accepts */
    uint64_t after;    /* matching requests that pass first */
    uint64_t every;    /* of the following, each every-th fails; at least 1 */
    uint64_t times;    /* most failures; 0: no limit */
    double chance;     /* probability of a failure, in (0, 1] */
    uint64_t seed;     /* of `chance` */
    void (*on_hit)(struct pv_disk_rule *r, void *arg); /* from the loop, behind the failure; NULL: none */
    void *arg;
};

#define PV_DISK_FAIL_INIT \
    { \
        .op = PV_DISK_ANY, .from = 0, .to = UINT64_MAX, .errnum = 5, .after = 0, .every = 1, .times = 0, \
        .chance = 1, .seed = 1, .on_hit = NULL, .arg = NULL \
    }

/*
 * EIO, ENOSPC, EPERM, ENOMEM, EINVAL, EOVERFLOW, EOPNOTSUPP, ESHUTDOWN: the errors of NBD; ETIMEDOUT reaches QEMU
 * as EIO.
 */
bool pv_disk_errno_ok(int errnum);

/* Each returns a rule, of which the caller owns a reference.  NULL: class usage, the text names the field. */
struct pv_disk_rule *pv_disk_fail(struct pv_disk *d, const struct pv_disk_fail *f, struct pv_err *err);
/* latency: ns; rate: bytes a second, 0: no limit.  One of them is not 0. */
struct pv_disk_rule *pv_disk_delay(struct pv_disk *d, enum pv_disk_op op, int64_t latency, uint64_t rate,
                                   struct pv_err *err);

/* Requests that failed, or were delayed, by it. */
uint64_t pv_disk_rule_hits(const struct pv_disk_rule *r);
/* Requests that matched op and range. */
uint64_t pv_disk_rule_matches(const struct pv_disk_rule *r);
/* "fail write 4096-8191 with EIO after 2", for notes. */
const char *pv_disk_rule_text(const struct pv_disk_rule *r);
/* Takes the rule off its disk; done already is fine.  Delayed requests go on at once. */
void pv_disk_rule_remove(struct pv_disk_rule *r);
struct pv_disk_rule *pv_disk_rule_ref(struct pv_disk_rule *r);
void pv_disk_rule_unref(struct pv_disk_rule *r); /* the disk keeps the rule; NULL is fine */

/* Requests wait until pv_disk_unhang; those that have come before are carried out. */
void pv_disk_hang(struct pv_disk *d);
void pv_disk_unhang(struct pv_disk *d);
bool pv_disk_hangs(const struct pv_disk *d);
/* Requests that hang fail with EIO and are not carried out; later ones hang as before. */
void pv_disk_drop_hanging(struct pv_disk *d);
/* Removes all rules and unhangs. */
void pv_disk_clear(struct pv_disk *d);

#endif

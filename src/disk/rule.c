/* SPDX-License-Identifier: MIT */
/* Fault rules: which requests they match, hit and delay. */
#include "disk/rule.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "disk/internal.h"
#include "util/clock.h"
#include "util/err.h"

struct pv_disk_rule {
    struct pv_disk_rule *next;
    struct pv_disk *disk; /* NULL: removed */
    unsigned refs;
    struct pv_disk_fail f;
    int64_t latency; /* of a delay: ns */
    uint64_t rate;   /* bytes a second; 0: no limit */
    bool delays;
    int64_t free_at; /* when the rate lets the next request begin */
    uint64_t matches, hits, told, random;
    char text[160];
};

struct pv_rules {
    struct pv_disk_rule *first;
};

static const struct {
    int errnum;
    const char *name;
} errnos[] = {{EIO, "EIO"},
              {ENOSPC, "ENOSPC"},
              {EPERM, "EPERM"},
              {ENOMEM, "ENOMEM"},
              {EINVAL, "EINVAL"},
              {EOVERFLOW, "EOVERFLOW"},
              {ENOTSUP, "EOPNOTSUPP"},
              {ESHUTDOWN, "ESHUTDOWN"},
              {ETIMEDOUT, "ETIMEDOUT"}};

static const char *const op_names[] = {"read", "write", "flush", "discard", "any"};

static const char *errno_text(int errnum)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(errnos); i++)
        if (errnos[i].errnum == errnum)
            return errnos[i].name;
    return NULL;
}

bool pv_disk_errno_ok(int errnum)
{
    return errno_text(errnum) != NULL;
}

static int check_fail(const struct pv_disk *d, const struct pv_disk_fail *f, struct pv_err *err)
{
    bool ranged = f->from != 0 || f->to != UINT64_MAX;

    if ((unsigned)f->op > PV_DISK_ANY)
        return pv_err_set(err, PV_E_USAGE, "op is one of read, write, flush, discard, any");
    if (f->from > f->to)
        return pv_err_set(err, PV_E_USAGE, "from (%llu) is behind to (%llu)", (unsigned long long)f->from,
                          (unsigned long long)f->to);
    if (f->from >= pv_disk_size(d))
        return pv_err_set(err, PV_E_USAGE, "from (%llu) is behind the end of disk '%s', which has %llu bytes",
                          (unsigned long long)f->from, d->name, (unsigned long long)pv_disk_size(d));
    if (ranged && f->op == PV_DISK_FLUSH)
        return pv_err_set(err, PV_E_USAGE,
                          "a flush touches no bytes: from and to do not go with op=\"flush\"");
    if (!pv_disk_errno_ok(f->errnum))
        return pv_err_set(
            err, PV_E_USAGE,
            "errno is one of EIO, ENOSPC, EPERM, ENOMEM, EINVAL, EOVERFLOW, EOPNOTSUPP, ESHUTDOWN, "
            "ETIMEDOUT: a disk has no other");
    if (!f->every)
        return pv_err_set(err, PV_E_USAGE, "every is at least 1");
    if (!(f->chance > 0 && f->chance <= 1))
        return pv_err_set(err, PV_E_USAGE, "chance is above 0 and at most 1");
    return 0;
}

static struct pv_disk_rule *rule_add(struct pv_disk *d)
{
    struct pv_disk_rule *r = pv_xcalloc(1, sizeof(*r)), **end;

    if (!d->rules)
        d->rules = pv_xcalloc(1, sizeof(*d->rules));
    for (end = &d->rules->first; *end; end = &(*end)->next)
        ;
    *end = r;
    r->disk = d;
    r->refs = 2;
    return r;
}

/* A rule in words, in the order of its options. */
static void describe_fail(struct pv_disk_rule *r)
{
    const struct pv_disk_fail *f = &r->f;
    struct pv_buf b = {0};

    pv_buf_addf(&b, "fail %s", op_names[f->op]);
    if (f->to != UINT64_MAX)
        pv_buf_addf(&b, " of bytes %llu-%llu", (unsigned long long)f->from, (unsigned long long)f->to);
    else if (f->from)
        pv_buf_addf(&b, " from byte %llu on", (unsigned long long)f->from);
    pv_buf_addf(&b, " with %s", errno_text(f->errnum));
    if (f->after)
        pv_buf_addf(&b, ", after %llu", (unsigned long long)f->after);
    if (f->every > 1)
        pv_buf_addf(&b, ", every %llu", (unsigned long long)f->every);
    if (f->chance < 1)
        pv_buf_addf(&b, ", chance %g", f->chance);
    if (f->times)
        pv_buf_addf(&b, ", times %llu", (unsigned long long)f->times);
    snprintf(r->text, sizeof(r->text), "%s", b.data);
    pv_buf_free(&b);
}

struct pv_disk_rule *pv_disk_fail(struct pv_disk *d, const struct pv_disk_fail *f, struct pv_err *err)
{
    struct pv_disk_rule *r;

    if (check_fail(d, f, err) < 0)
        return NULL;
    r = rule_add(d);
    r->f = *f;
    r->random = f->seed;
    describe_fail(r);
    return r;
}

struct pv_disk_rule *pv_disk_delay(struct pv_disk *d, enum pv_disk_op op, int64_t latency, uint64_t rate,
                                   struct pv_err *err)
{
    struct pv_disk_rule *r;

    if ((unsigned)op > PV_DISK_ANY || latency < 0 || (!latency && !rate)) {
        pv_err_set(err, PV_E_USAGE, "a delay has an op, and a latency or a rate");
        return NULL;
    }
    r = rule_add(d);
    r->f = (struct pv_disk_fail)PV_DISK_FAIL_INIT;
    r->f.op = op;
    r->delays = true;
    r->latency = latency;
    r->rate = rate;
    snprintf(r->text, sizeof(r->text), "delay %s by %g ms, rate %llu", op_names[op], (double)latency / 1e6,
             (unsigned long long)rate);
    return r;
}

uint64_t pv_disk_rule_hits(const struct pv_disk_rule *r)
{
    return r->hits;
}

uint64_t pv_disk_rule_matches(const struct pv_disk_rule *r)
{
    return r->matches;
}

const char *pv_disk_rule_text(const struct pv_disk_rule *r)
{
    return r->text;
}

struct pv_disk_rule *pv_disk_rule_ref(struct pv_disk_rule *r)
{
    r->refs++;
    return r;
}

void pv_disk_rule_unref(struct pv_disk_rule *r)
{
    if (r && --r->refs == 0)
        free(r);
}

void pv_disk_rule_remove(struct pv_disk_rule *r)
{
    struct pv_disk *d = r->disk;
    struct pv_disk_rule **at;

    if (!d)
        return;
    for (at = &d->rules->first; *at != r; at = &(*at)->next)
        ;
    *at = r->next;
    r->disk = NULL;
    if (d->nbd && r->delays)
        pv_nbd_release(d->nbd, 0);
    pv_disk_rule_unref(r);
}

static bool rule_matches(const struct pv_disk_rule *r, enum pv_disk_op op, uint64_t at, uint64_t len)
{
    if (r->f.op != PV_DISK_ANY && r->f.op != op)
        return false;
    if (op == PV_DISK_FLUSH)
        return r->f.from == 0 && r->f.to == UINT64_MAX;
    return at <= r->f.to && at + len > r->f.from;
}

/* Counts a matching request; true: it fails. */
static bool rule_hits(struct pv_disk_rule *r)
{
    uint64_t n = ++r->matches;

    if (n <= r->f.after || (n - r->f.after) % r->f.every || (r->f.times && r->hits >= r->f.times))
        return false;
    if (r->f.chance < 1 && (double)(pv_random(&r->random) >> 11) * 0x1p-53 >= r->f.chance)
        return false;
    r->hits++;
    return true;
}

/* The time that a delaying rule adds; a rate lets one request after the other pass. */
static int64_t rule_delay(struct pv_disk_rule *r, int64_t now, uint64_t len)
{
    int64_t wait = r->latency;

    r->matches++;
    r->hits++;
    if (r->rate) {
        int64_t begin = r->free_at > now ? r->free_at : now;
        double ns = (double)len * 1e9 / (double)r->rate;

        r->free_at = begin + (ns > 1e18 ? INT64_C(1000000000000000000) : (int64_t)ns);
        wait += r->free_at - now;
    }
    return wait;
}

struct pv_verdict pv_rules_judge(struct pv_disk *d, enum pv_disk_op op, uint64_t at, uint64_t len)
{
    struct pv_verdict v = {0, 0};
    int64_t now = 0;

    for (struct pv_disk_rule *r = d->rules ? d->rules->first : NULL; r; r = r->next) {
        if (!rule_matches(r, op, at, len))
            continue;
        if (r->delays) {
            now = now ? now : pv_now();
            v.due = (v.due ? v.due : now) + rule_delay(r, now, len);
        } else if (!v.errnum && rule_hits(r)) {
            v.errnum = r->f.errnum;
            if (r->f.on_hit)
                pv_timer_arm(d->loop, &d->notify, now ? now : pv_now());
        }
    }
    return v;
}

void pv_rules_notify(struct pv_disk *d)
{
    for (;;) {
        struct pv_disk_rule *r = d->rules ? d->rules->first : NULL;

        while (r && !(r->f.on_hit && r->told < r->hits))
            r = r->next;
        if (!r)
            return;
        r->told++;
        r->refs++;
        r->f.on_hit(r, r->f.arg);
        pv_disk_rule_unref(r);
    }
}

void pv_rules_free(struct pv_disk *d)
{
    while (d->rules && d->rules->first)
        pv_disk_rule_remove(d->rules->first);
    free(d->rules);
    d->rules = NULL;
}

void pv_disk_hang(struct pv_disk *d)
{
    d->hangs = true;
}

void pv_disk_unhang(struct pv_disk *d)
{
    d->hangs = false;
    if (d->nbd)
        pv_nbd_wake(d->nbd);
}

void pv_disk_drop_hanging(struct pv_disk *d)
{
    if (!d->hangs || !d->nbd)
        return;
    d->hangs = false;
    pv_nbd_release(d->nbd, EIO);
    d->hangs = true;
}

bool pv_disk_hangs(const struct pv_disk *d)
{
    return d->hangs;
}

void pv_disk_clear(struct pv_disk *d)
{
    while (d->rules && d->rules->first)
        pv_disk_rule_remove(d->rules->first);
    pv_disk_unhang(d);
}

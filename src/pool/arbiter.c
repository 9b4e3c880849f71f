/* SPDX-License-Identifier: MIT */
#include "pool/arbiter.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/err.h"
#include "util/mem.h"

struct pv_pool {
    struct pv_pool_opts o;
    uint64_t room;   /* free mode */
    uint64_t beyond; /* a fixed budget */
    struct pv_amount held, standby;
    struct pv_pool_file *files;
    struct pv_pool_request *queue; /* in the order of pv_pool_request */
    uint64_t asks, grants;
};

struct pv_pool *pv_pool_new(const struct pv_pool_opts *o)
{
    struct pv_pool *p = pv_xcalloc(1, sizeof(*p));

    p->o = *o;
    p->room = o->most;
    return p;
}

void pv_pool_free(struct pv_pool *p)
{
    free(p);
}

bool pv_pool_is_free(const struct pv_pool *p)
{
    return p->o.memory == 0;
}

static uint64_t pool_whole(const struct pv_pool *p)
{
    return p->o.memory ? p->o.memory : p->o.most;
}

/* Without --cpus the limit is that of the sums: what is held must come to zero when all of it is released. */
static unsigned pool_cpus(const struct pv_pool *p)
{
    return p->o.cpus ? p->o.cpus : UINT32_MAX;
}

/* The amount that may be granted now. */
static struct pv_amount pool_left(const struct pv_pool *p)
{
    struct pv_amount a = {p->room, pool_cpus(p) - p->held.cpus - p->standby.cpus};

    if (p->o.memory)
        a.memory = p->o.memory - p->held.memory - p->standby.memory;
    return a;
}

static bool amount_within(struct pv_amount a, struct pv_amount b)
{
    return a.memory <= b.memory && a.cpus <= b.cpus;
}

static struct pv_amount amount_plus(struct pv_amount a, struct pv_amount b)
{
    return (struct pv_amount){a.memory + b.memory, a.cpus + b.cpus};
}

static struct pv_amount amount_minus(struct pv_amount a, struct pv_amount b)
{
    assert(amount_within(b, a));
    return (struct pv_amount){a.memory - b.memory, a.cpus - b.cpus};
}

static struct pv_amount amount_larger(struct pv_amount a, struct pv_amount b)
{
    return (struct pv_amount){a.memory > b.memory ? a.memory : b.memory, a.cpus > b.cpus ? a.cpus : b.cpus};
}

static bool amount_is_zero(struct pv_amount a)
{
    return a.memory == 0 && a.cpus == 0;
}

/* The file that holds all that is held may have the whole budget: nothing that other files do would give it more. */
static bool request_fits(const struct pv_pool *p, const struct pv_pool_request *r)
{
    struct pv_amount left = pool_left(p);

    if (p->held.memory != r->file->held.memory)
        left.memory -= left.memory < p->beyond ? left.memory : p->beyond;
    return amount_within(r->want, left);
}

static void pool_add_file(struct pv_pool *p, struct pv_pool_file *f)
{
    for (struct pv_pool_file *i = p->files; i; i = i->next)
        if (i == f)
            return;
    f->next = p->files;
    p->files = f;
}

const char *pv_pool_size(uint64_t bytes, char buf[static 32])
{
    double m = (double)bytes / (1 << 20);
    char *dot;

    if (m < 1023.5) {
        snprintf(buf, 32, "%.0fM", m);
        return buf;
    }
    snprintf(buf, 32, "%.1fG", m / 1024);
    dot = strstr(buf, ".0G");
    if (dot)
        strcpy(dot, "G");
    return buf;
}

/* ---- the queue ---- */

static int pool_refuse_memory(const struct pv_pool *p, const struct pv_pool_request *r, struct pv_err *err)
{
    char want[32], held[32], all[32], sum[32], spare[32];
    cleanup_buf struct pv_buf text = {0};

    pv_buf_addf(&text, "%s of memory are wanted, ", pv_pool_size(r->want.memory, want));
    if (!amount_is_zero(r->file->held))
        pv_buf_addf(&text, "the file's other VMs hold %s: together %s, ",
                    pv_pool_size(r->file->held.memory, held),
                    pv_pool_size(r->file->held.memory + r->want.memory, sum));
    if (p->o.memory)
        pv_buf_addf(&text, "more than --mem gives to all VMs together: %s", pv_pool_size(pool_whole(p), all));
    else
        pv_buf_addf(
            &text,
            "more than the %s that this host (or its control group) has beside the %s that are kept free; "
            "--mem SIZE sets a budget",
            pv_pool_size(pool_whole(p), all), pv_pool_size(p->o.spare, spare));
    return pv_err_set(err, PV_E_USAGE, "%s", text.data);
}

bool pv_pool_fits_alone(const struct pv_pool *p, struct pv_amount want)
{
    return want.memory <= pool_whole(p) && want.cpus <= pool_cpus(p);
}

int pv_pool_request(struct pv_pool *p, struct pv_pool_request *r, struct pv_err *err)
{
    struct pv_pool_request **end = &p->queue;
    struct pv_amount sum;

    if (r->want.memory > UINT64_MAX / 4)
        return pv_err_set(err, PV_E_USAGE, "%" PRIu64 " bytes of memory are wanted", r->want.memory);
    sum = amount_plus(r->file->held, r->want);
    if (sum.memory > pool_whole(p))
        return pool_refuse_memory(p, r, err);
    if (r->want.cpus > pool_cpus(p) - r->file->held.cpus)
        return pv_err_set(err, PV_E_USAGE,
                          "%u CPUs are wanted, the file's other VMs hold %u: more than %s: %u", r->want.cpus,
                          r->file->held.cpus,
                          p->o.cpus ? "--cpus gives to all VMs" : "all VMs together can have", pool_cpus(p));
    pool_add_file(p, r->file);
    if (!r->file->first)
        r->file->first = ++p->asks;
    r->file->claim = amount_larger(r->file->claim, sum);
    r->file->waiting++;
    r->next = NULL;
    while (*end)
        end = &(*end)->next;
    *end = r;
    return 0;
}

void pv_pool_cancel(struct pv_pool *p, struct pv_pool_request *r)
{
    struct pv_pool_request **at = &p->queue;

    while (*at != r) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = r->next;
    r->file->waiting--;
}

void pv_pool_set_room(struct pv_pool *p, uint64_t bytes)
{
    p->room = bytes;
}

void pv_pool_set_beyond(struct pv_pool *p, uint64_t bytes)
{
    p->beyond = bytes;
}

uint64_t pv_pool_beyond(const struct pv_pool *p)
{
    return p->beyond;
}

bool pv_pool_waits(const struct pv_pool *p)
{
    return p->queue != NULL;
}

struct pv_amount pv_pool_held(const struct pv_pool *p)
{
    return p->held;
}

/* ---- granting ---- */

/* True when all holders can, one after the other, get their claims and end. */
static bool pool_is_safe(const struct pv_pool *p)
{
    struct pv_amount avail = pool_left(p);
    bool more = true, all = true;

    for (struct pv_pool_file *f = p->files; f; f = f->next)
        f->ends = f->since == 0;
    while (more) {
        more = false;
        all = true;
        for (struct pv_pool_file *f = p->files; f; f = f->next) {
            if (f->ends)
                continue;
            if (!amount_within(amount_minus(amount_larger(f->claim, f->held), f->held), avail)) {
                all = false;
                continue;
            }
            f->ends = more = true;
            avail = amount_plus(avail, f->held);
        }
    }
    return all;
}

static void pool_grant(struct pv_pool *p, struct pv_pool_file *f, struct pv_amount a)
{
    f->held = amount_plus(f->held, a);
    p->held = amount_plus(p->held, a);
    if (!p->o.memory)
        p->room -= a.memory;
    if (!f->since)
        f->since = ++p->grants;
}

/* True when the pool is safe after granting r, which fits. */
static bool grant_is_safe(struct pv_pool *p, struct pv_pool_request *r)
{
    struct pv_pool_file *f = r->file;
    struct pv_amount held = p->held;
    struct pv_pool_file was = *f;
    uint64_t room = p->room;
    bool ok;

    pool_grant(p, f, r->want);
    ok = pool_is_safe(p);
    f->held = was.held;
    if (!was.since) {
        f->since = 0;
        p->grants--;
    }
    p->held = held;
    p->room = room;
    return ok;
}

static size_t pool_count_holders(const struct pv_pool *p)
{
    size_t n = 0;

    for (const struct pv_pool_file *f = p->files; f; f = f->next)
        n += f->since != 0;
    return n;
}

/* True when all holders wait, and none of them is about to be restarted. */
static bool pool_holders_wait(const struct pv_pool *p)
{
    for (const struct pv_pool_file *f = p->files; f; f = f->next)
        if (f->condemned || (f->since && !f->waiting && !f->blocked))
            return false;
    return true;
}

/* The request of the newcomer that asked first. */
static struct pv_pool_request *pool_first_newcomer(const struct pv_pool *p)
{
    struct pv_pool_request *head = NULL;

    for (struct pv_pool_request *r = p->queue; r; r = r->next)
        if (!r->file->since && !r->file->condemned && (!head || r->file->first < head->file->first))
            head = r;
    return head;
}

/* The request of the oldest holder that fits and, if `careful`, leaves the pool safe.  *any: a holder
 * waits. */
static struct pv_pool_request *pool_oldest_holder(struct pv_pool *p, bool careful, bool *any)
{
    struct pv_pool_request *best = NULL;

    for (struct pv_pool_request *r = p->queue; r; r = r->next) {
        if (!r->file->since || r->file->condemned)
            continue;
        *any = true;
        if ((!best || r->file->since < best->file->since) && request_fits(p, r) &&
            (!careful || grant_is_safe(p, r)))
            best = r;
    }
    return best;
}

static struct pv_pool_request *pool_choose(struct pv_pool *p)
{
    bool any = false;
    struct pv_pool_request *r = pool_oldest_holder(p, true, &any), *head;

    if (r)
        return r;
    head = pool_first_newcomer(p);
    if (head && !request_fits(p, head))
        head = NULL;
    if (!any && head && grant_is_safe(p, head))
        return head;
    if (pool_count_holders(p) == 0 || !pool_holders_wait(p))
        return NULL;
    /* The holders may wait for the newcomer to build a fixture, unless they wait for the pool themselves. */
    return any ? pool_oldest_holder(p, false, &any) : head;
}

struct pv_pool_request *pv_pool_next(struct pv_pool *p)
{
    struct pv_pool_request *r = pool_choose(p);

    if (!r)
        return NULL;
    pv_pool_cancel(p, r);
    pool_grant(p, r->file, r->want);
    return r;
}

void pv_pool_release(struct pv_pool *p, struct pv_pool_file *f, struct pv_amount a)
{
    f->held = amount_minus(f->held, a);
    p->held = amount_minus(p->held, a);
    if (amount_is_zero(f->held))
        f->since = 0;
}

bool pv_pool_acquire_standby(struct pv_pool *p, struct pv_amount a)
{
    struct pv_amount all = amount_plus(amount_plus(p->held, p->standby), a);

    if (p->queue || !amount_within((struct pv_amount){a.memory + p->beyond, a.cpus}, pool_left(p)) ||
        (p->o.host && all.cpus > p->o.host))
        return false;
    p->standby = amount_plus(p->standby, a);
    if (!p->o.memory)
        p->room -= a.memory;
    return true;
}

void pv_pool_release_standby(struct pv_pool *p, struct pv_amount a)
{
    p->standby = amount_minus(p->standby, a);
}

void pv_pool_leave(struct pv_pool *p, struct pv_pool_file *f)
{
    assert(!f->waiting);
    pv_pool_release(p, f, f->held);
    f->blocked = 0;
    f->condemned = false;
    for (struct pv_pool_file **at = &p->files; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    f->next = NULL;
}

/* ---- deadlocks of files ---- */

bool pv_pool_stuck(const struct pv_pool *p)
{
    size_t n = pool_count_holders(p);

    if (n == 0 || !p->queue || !pool_holders_wait(p))
        return false;
    if (n > 1)
        return true;
    /* Restarting the only holder helps newcomers, not itself. */
    for (const struct pv_pool_request *r = p->queue; r; r = r->next)
        if (!r->file->since)
            return true;
    return false;
}

struct pv_pool_file *pv_pool_victim(struct pv_pool *p)
{
    struct pv_pool_file *youngest = NULL;

    if (!pv_pool_stuck(p))
        return NULL;
    for (struct pv_pool_file *f = p->files; f; f = f->next)
        if (f->since && (!youngest || f->since > youngest->since))
            youngest = f;
    youngest->condemned = true;
    return youngest;
}

struct pv_pool_request *pv_pool_unsatisfiable(const struct pv_pool *p)
{
    if (p->o.memory)
        return NULL;
    for (struct pv_pool_request *r = p->queue; r; r = r->next)
        if (r->file->held.memory == p->held.memory && !r->file->condemned)
            return r;
    return NULL;
}

void pv_pool_wait_text(const struct pv_pool *p, const struct pv_pool_request *r,
                       char text[static PV_POOL_TEXT])
{
    char want[32], used[32], all[32];
    struct pv_amount l = pool_left(p);

    if (p->o.cpus && r->want.cpus > l.cpus && r->want.memory <= l.memory) {
        snprintf(text, PV_POOL_TEXT, "waiting for %u CPU%s (%u of %u in use)", r->want.cpus,
                 r->want.cpus == 1 ? "" : "s", p->held.cpus, p->o.cpus);
        return;
    }
    pv_pool_size(r->want.memory, want);
    if (p->o.memory)
        snprintf(text, PV_POOL_TEXT, "waiting for memory (%s; %s of %s in use)", want,
                 pv_pool_size(p->held.memory + p->beyond, used), pv_pool_size(p->o.memory, all));
    else
        snprintf(text, PV_POOL_TEXT, "waiting for memory (%s; the host has %s beside the %s that stay free)",
                 want, pv_pool_size(l.memory, used), pv_pool_size(p->o.spare, all));
}

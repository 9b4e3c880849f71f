/* SPDX-License-Identifier: MIT */
#include "runner/sched.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "loop/loop.h"
#include "runner/history.h"
#include "pool/hostsize.h"
#include "runner/plan.h"
#include "pool/arbiter.h"
#include "pool/server.h"
#include "runner/slot.h"
#include "util/err.h"
#include "util/mem.h"

/* One run of a file; --repeat makes several for one file. */
struct item {
    const struct pv_test_file *file;
    struct pv_file_report *report;
    struct pv_pool_file account;
    char *name; /* of a repetition; NULL: the file's */
    unsigned number;
    unsigned starts;
    int64_t expected_ns;
    bool again;        /* the pool restarts it: it is being stopped, to begin again */
    struct slot *slot; /* in which it runs; NULL: it does not */
};

struct sched {
    struct sched_opts o;
    struct item *items;
    struct pv_file_report *reports;
    size_t *order;
    size_t n, next;
    struct slot *slots;
    unsigned jobs;
    struct pv_pool_server *pool;
    bool stopped;
};

/* ---- callbacks of the pool ---- */

static uint64_t pool_used(struct pv_pool_file *f, void *arg)
{
    const struct item *it = PV_CONTAINER_OF(f, struct item, account);

    (void)arg;
    return it->slot ? pv_host_vm_memory("", slot_pid(it->slot)) : 0;
}

/* The file's deadline stands still while it waits for the pool: other files' deadlines bound the wait. */
static void pool_waits(struct pv_pool_file *f, bool does, void *arg)
{
    const struct item *it = PV_CONTAINER_OF(f, struct item, account);

    (void)arg;
    if (it->slot)
        slot_pause(it->slot, does);
}

static void pool_restart(struct pv_pool_file *f, const char *why, void *arg)
{
    struct item *it = PV_CONTAINER_OF(f, struct item, account);
    struct sched *s = arg;
    cleanup_free char *text =
        pv_xasprintf("%s is started again from its beginning: %s", it->report->name, why);

    it->again = true;
    s->o.notice(text, strlen(text), s->o.arg);
    slot_stop(it->slot);
}

static void pool_fail(struct pv_pool_file *f, const char *fault, void *arg)
{
    const struct item *it = PV_CONTAINER_OF(f, struct item, account);

    (void)arg;
    if (it->slot)
        slot_fail(it->slot, fault);
}

/* ---- running ---- */

static void sched_start_item(struct sched *s, struct slot *slot, struct item *it)
{
    struct pv_err err = PV_ERR_INIT;
    struct slot_file f = {.file = it->file,
                          .report = it->report,
                          .number = it->number,
                          .attempt = ++it->starts,
                          .lease = pv_pool_server_join(s->pool, &it->account, &err)};

    it->slot = slot;
    it->again = false;
    if (f.lease < 0 || slot_start(slot, &f, s->o.run, &err) < 0) {
        pv_close(&f.lease);
        it->slot = NULL;
        pv_pool_server_leave(s->pool, &it->account);
        sched_stop(s);
        s->o.failed(&err, s->o.arg);
        return;
    }
    pv_close(&f.lease);
    s->o.begin(it->report, it->expected_ns, s->o.arg);
}

static void sched_fill_slots(struct sched *s)
{
    for (unsigned i = 0; i < s->jobs && s->next < s->n && !s->stopped; i++)
        if (s->slots[i].state == SLOT_FREE)
            sched_start_item(s, &s->slots[i], &s->items[s->order[s->next++]]);
}

static struct item *slot_item(struct sched *s, const struct slot *slot)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].slot == slot)
            return &s->items[i];
    return NULL;
}

/* Records the file in the history; one failed repetition makes it failed. */
static void item_record(struct sched *s, const struct item *it)
{
    bool failed = false;

    if (!s->o.run->history || it->report->interrupted)
        return;
    for (size_t i = 0; i < s->n; i++)
        failed |= s->items[i].file == it->file && pv_report_failed(s->items[i].report);
    pv_history_put(s->o.run->history, it->file->path, failed,
                   it->report->duration_ns - it->report->waited_ns);
}

static void on_slot_end(struct slot *slot)
{
    struct sched *s = slot->arg;
    struct item *it = slot_item(s, slot);
    struct pv_file_report *f = it->report;
    bool failed;

    it->slot = NULL;
    pv_pool_server_leave(s->pool, &it->account);
    if (it->again && f->interrupted && !s->stopped) {
        s->o.end(f, false, s->o.arg);
        pv_report_begin_again(f);
        sched_start_item(s, slot, it);
        return;
    }
    failed = pv_report_failed(f) && !f->interrupted;
    if (failed && f->n_attempts < s->o.run->retries && !s->stopped) {
        s->o.end(f, false, s->o.arg);
        pv_report_next_attempt(f);
        sched_start_item(s, slot, it);
        return;
    }
    f->flaky = pv_report_flaky(f);
    item_record(s, it);
    if (failed && s->o.run->fail_fast)
        sched_stop(s);
    s->o.end(f, true, s->o.arg);
    sched_fill_slots(s);
}

static void on_slot_notice(struct slot *slot, const char *text, size_t n)
{
    struct sched *s = slot->arg;

    s->o.notice(text, n, s->o.arg);
}

static void on_slot_live(struct slot *slot, const char *vm, enum pv_live_kind kind, const char *text,
                         size_t n)
{
    struct sched *s = slot->arg;

    s->o.live(slot->report, vm, kind, text, n, s->o.arg);
}

void sched_start(struct sched *s)
{
    sched_fill_slots(s);
}

void sched_stop(struct sched *s)
{
    s->stopped = true;
    for (unsigned i = 0; i < s->jobs; i++)
        slot_stop(&s->slots[i]);
}

void sched_kill(struct sched *s)
{
    s->stopped = true;
    for (unsigned i = 0; i < s->jobs; i++)
        slot_kill(&s->slots[i]);
}

void sched_hold(struct sched *s, bool on)
{
    for (unsigned i = 0; i < s->jobs; i++)
        slot_hold(&s->slots[i], on);
}

bool sched_running(const struct sched *s)
{
    for (unsigned i = 0; i < s->jobs; i++)
        if (s->slots[i].state != SLOT_FREE)
            return true;
    return false;
}

bool sched_done(const struct sched *s)
{
    return !sched_running(s) && (s->stopped || s->next == s->n);
}

/* ---- planning ---- */

static void sched_make_items(struct sched *s)
{
    const struct pv_run_opts *o = s->o.run;
    unsigned rounds = o->repeat ? o->repeat : 1;

    s->n = s->o.files->n * rounds;
    s->items = pv_xcalloc(s->n + 1, sizeof(*s->items));
    s->reports = pv_xcalloc(s->n + 1, sizeof(*s->reports));
    for (size_t i = 0; i < s->n; i++) {
        struct item *it = &s->items[i];

        it->file = &s->o.files->v[i / rounds];
        it->report = &s->reports[i];
        it->number = (unsigned)i + 1;
        it->expected_ns = o->history ? pv_history_duration(o->history, it->file->path) : -1;
        if (rounds > 1)
            it->name = pv_xasprintf("%s (%zu of %u)", it->file->name, i % rounds + 1, rounds);
        it->report->name = it->name ? it->name : it->file->name;
        it->report->path = it->file->path;
        it->report->root = it->file->root;
        it->report->base_ns = s->o.base_ns;
    }
}

/* Longest first only shortens a parallel run; with one slot files keep their order. */
static void sched_make_order(struct sched *s)
{
    unsigned rounds = s->o.run->repeat ? s->o.run->repeat : 1;
    cleanup_free int64_t *ns = pv_xcalloc(s->o.files->n + 1, sizeof(*ns));
    cleanup_free size_t *files = pv_xcalloc(s->o.files->n + 1, sizeof(*files));
    size_t n = 0;

    for (size_t i = 0; i < s->o.files->n; i++)
        ns[i] = s->jobs == 1 || s->o.run->keep_order ? -1 : s->items[i * rounds].expected_ns;
    pv_plan_order(ns, s->o.files->n, files);
    s->order = pv_xcalloc(s->n + 1, sizeof(*s->order));
    for (unsigned round = 0; round < rounds; round++)
        for (size_t i = 0; i < s->o.files->n; i++)
            s->order[n++] = files[i] * rounds + round;
}

static unsigned sched_choose_jobs(const struct sched *s)
{
    const struct pv_run_opts *o = s->o.run;
    struct pv_plan_limits l = {.budget = o->memory || o->cpus, .files = s->n};
    struct rlimit fds = {.rlim_cur = 1024};
    struct pv_host h;

    if (o->jobs)
        return o->jobs < s->n ? o->jobs : s->n ? (unsigned)s->n : 1;
    pv_host_measure("", &h);
    getrlimit(RLIMIT_NOFILE, &fds);
    l.cpus = h.cpus;
    l.descriptors = fds.rlim_cur;
    return pv_plan_jobs(&l);
}

struct sched *sched_new(const struct sched_opts *o)
{
    struct sched *s = pv_xcalloc(1, sizeof(*s));

    s->o = *o;
    sched_make_items(s);
    s->jobs = sched_choose_jobs(s);
    sched_make_order(s);
    s->pool = pv_pool_server_new(o->loop, &(struct pv_pool_server_opts){.memory = o->run->memory,
                                                                        .cpus = o->run->cpus,
                                                                        .used = pool_used,
                                                                        .waits = pool_waits,
                                                                        .restart = pool_restart,
                                                                        .fail = pool_fail,
                                                                        .arg = s});
    s->slots = pv_xcalloc(s->jobs, sizeof(*s->slots));
    for (unsigned i = 0; i < s->jobs; i++) {
        slot_init(&s->slots[i], o->loop, o->dir);
        s->slots[i].on_notice = on_slot_notice;
        s->slots[i].on_live = on_slot_live;
        s->slots[i].on_end = on_slot_end;
        s->slots[i].arg = s;
    }
    return s;
}

void sched_free(struct sched *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        pv_file_report_fini(&s->reports[i]);
        free(s->items[i].name);
    }
    pv_pool_server_free(s->pool);
    free(s->items);
    free(s->reports);
    free(s->order);
    free(s->slots);
    free(s);
}

struct pv_file_report *sched_reports(const struct sched *s, size_t *n)
{
    *n = s->n;
    return s->reports;
}

int64_t sched_expected(const struct sched *s, size_t i)
{
    return s->items[i].expected_ns;
}

unsigned sched_jobs(const struct sched *s)
{
    return s->jobs;
}

/* SPDX-License-Identifier: MIT */
/*
 * The cache, power cuts and states against a model that tries all: random workloads on disks of a few sectors, each
 * sector filled with one byte, so that the content of a disk is a short string.
 */
#include "util/test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/internal.h"
#include "disk/recording.h"
#include "loop/loop.h"
#include "util/err.h"
#include "util/mem.h"

enum { SECTORS = 6, DISKS = 2, EVENTS = 10, UNITS_MAX = 14, SECTOR_MAX = 4096, WORKLOADS = 10000 };

enum kind { WRITE, DISCARD, ZERO, FLUSH, MARK };

struct event {
    enum kind kind;
    bool fua;
    unsigned disk, at, len;
    char byte;
    unsigned unit; /* of a change: its first unit */
};

struct workload {
    unsigned disks, n, units;
    struct event v[EVENTS];
};

struct pair {
    char content[DISKS * SECTORS];
    unsigned marks;
};

struct set {
    struct pair *v;
    size_t n;
};

static struct pv_loop *loop;
static unsigned sector; /* bytes: less than a layer's block, or as many */
static int image_fd;    /* the file of the disks that are in one */

static unsigned below(uint64_t *random, unsigned n)
{
    return (unsigned)(pv_random(random) % n);
}

static struct workload workload_make(uint64_t seed)
{
    uint64_t random = seed * 7919;
    struct workload w = {.disks = 1 + (below(&random, 4) == 0)};
    unsigned n = 1 + below(&random, EVENTS), max = below(&random, 3) ? 9 : UNITS_MAX;

    for (unsigned i = 0; i < n; i++) {
        static const enum kind kinds[] = {WRITE, WRITE, WRITE, WRITE, DISCARD,
                                          ZERO,  FLUSH, FLUSH, MARK,  MARK};
        struct event e = {.kind = kinds[below(&random, 10)], .disk = below(&random, w.disks)};

        if (e.kind < FLUSH) {
            e.at = below(&random, SECTORS);
            e.len = 1 + below(&random, SECTORS - e.at < 3 ? SECTORS - e.at : 3);
            e.fua = below(&random, 5) == 0;
            e.byte = (char)(e.kind == WRITE ? 'a' + (below(&random, 4) ? (int)i : 0) : 0);
            e.unit = w.units;
            if (w.units + e.len > max)
                continue;
            w.units += e.len;
        }
        w.v[w.n++] = e;
    }
    return w;
}

/* The event behind whose completion event i is durable; EVENTS: none. */
static unsigned forced(const struct workload *w, unsigned i)
{
    if (w->v[i].fua)
        return i;
    for (unsigned k = i + 1; k < w->n; k++)
        if (w->v[k].kind == FLUSH && w->v[k].disk == w->v[i].disk)
            return k;
    return EVENTS;
}

static unsigned event_units(const struct event *e)
{
    return ((1u << e->len) - 1) << e->unit;
}

/* True: a crash when events [0, c) were complete can leave this set of units. */
static bool allowed(const struct workload *w, unsigned set, unsigned c)
{
    for (unsigned i = 0; i < w->n; i++) {
        unsigned units = event_units(&w->v[i]);

        if (w->v[i].kind >= FLUSH)
            continue;
        if (i > c && set & units)
            return false;
        if (forced(w, i) < c && (set & units) != units)
            return false;
    }
    return true;
}

static void content_of(const struct workload *w, unsigned set, char *content)
{
    memset(content, 0, DISKS * SECTORS);
    for (unsigned i = 0; i < w->n; i++)
        for (unsigned k = 0; w->v[i].kind < FLUSH && k < w->v[i].len; k++)
            if (set >> (w->v[i].unit + k) & 1)
                content[w->v[i].disk * SECTORS + w->v[i].at + k] = w->v[i].byte;
}

static unsigned marks_before(const struct workload *w, unsigned c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < c; i++)
        n += w->v[i].kind == MARK;
    return n;
}

static int compare_pairs(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct pair));
}

static void set_add(struct set *s, const struct pair *p)
{
    s->v = pv_xrealloc(s->v, (s->n + 1) * sizeof(*p));
    s->v[s->n++] = *p;
}

static bool set_has(const struct set *s, const struct pair *p)
{
    return s->n && bsearch(p, s->v, s->n, sizeof(*p), compare_pairs);
}

/* Sorts, and returns the number of duplicates, which go. */
static size_t set_sort(struct set *s)
{
    size_t n = 0, all = s->n;

    if (all)
        qsort(s->v, all, sizeof(*s->v), compare_pairs);
    for (size_t i = 0; i < all; i++)
        if (!n || compare_pairs(&s->v[i], &s->v[n - 1]) != 0)
            s->v[n++] = s->v[i];
    s->n = n;
    return all - n;
}

/* Adds the pair of a set of units if some crash leaves it: with the marks of the latest such crash. */
static void model_add(const struct workload *w, unsigned set, struct set *to)
{
    struct pair p;

    memset(&p, 0, sizeof(p));
    for (unsigned c = w->n + 1; c-- > 0;)
        if (allowed(w, set, c)) {
            content_of(w, set, p.content);
            p.marks = marks_before(w, c);
            set_add(to, &p);
            return;
        }
}

/* All sets of whole changes, or of units when torn. */
static void model_all(const struct workload *w, bool torn, struct set *to)
{
    unsigned changes[EVENTS], n = 0;

    for (unsigned i = 0; i < w->n; i++)
        if (w->v[i].kind < FLUSH)
            changes[n++] = i;
    for (unsigned m = 0; m < 1u << (torn ? w->units : n); m++) {
        unsigned set = torn ? m : 0;

        for (unsigned k = 0; !torn && k < n; k++)
            if (m >> k & 1)
                set |= event_units(&w->v[changes[k]]);
        model_add(w, set, to);
    }
    set_sort(to);
}

/* ---- the disks ---- */

struct rig {
    struct pv_disk *d[DISKS];
    struct pv_disk_recording *rec;
};

/* A disk in the file image_fd, which is emptied; writes reach the file. */
static struct pv_disk *disk_on_file(const struct pv_disk_opts *o, struct pv_err *err)
{
    cleanup_free char *path = pv_xasprintf("/proc/self/fd/%d", image_fd);

    assert_int_equal(ftruncate(image_fd, 0), 0);
    assert_int_equal(ftruncate(image_fd, (off_t)o->size), 0);
    return pv_disk_open_file(loop, o, path, "raw", false, err);
}

static void rig_init(struct rig *r, const struct workload *w, bool record)
{
    static const char *const names[] = {"a", "b"};
    struct pv_err err = PV_ERR_INIT;

    r->rec = NULL;
    for (unsigned i = 0; i < w->disks; i++) {
        struct pv_disk_opts o = {.name = names[i], .dir = "/tmp", .size = SECTORS * sector, .sector = sector};

        r->d[i] = i == 0 && image_fd >= 0 ? disk_on_file(&o, &err) : pv_disk_new(loop, &o, &err);
        if (!r->d[i])
            fail_msg("%s", err.text);
    }
    if (record && !(r->rec = pv_disk_recording_start(r->d, w->disks, "/tmp", &err)))
        fail_msg("%s", err.text);
}

static void rig_fini(struct rig *r, const struct workload *w)
{
    pv_disk_recording_unref(r->rec);
    for (unsigned i = 0; i < w->disks; i++)
        pv_disk_free(r->d[i]);
}

static void event_do(struct rig *r, const struct event *e)
{
    char data[SECTORS * SECTOR_MAX];
    struct pv_disk *d = r->d[e->disk];

    memset(data, e->byte, sizeof(data));
    if (e->kind == WRITE)
        assert_int_equal(pv_cache_write(d, e->at * sector, data, e->len * sector, e->fua), 0);
    else if (e->kind == FLUSH)
        pv_cache_flush(d);
    else if (e->kind == MARK && r->rec)
        assert_int_equal(pv_disk_recording_mark(r->rec, "m", NULL), 0);
    else if (e->kind != MARK)
        assert_int_equal(pv_cache_zero(d, e->kind == ZERO ? PV_CHANGE_ZERO : PV_CHANGE_DISCARD,
                                       e->at * sector, e->len * sector, e->fua),
                         0);
}

static void sectors_to_content(const char *bytes, char *content)
{
    for (unsigned k = 0; k < SECTORS; k++) {
        content[k] = bytes[k * sector];
        for (unsigned i = 1; i < sector; i++)
            assert_int_equal(bytes[k * sector + i], content[k]);
    }
}

static struct pair pair_of_state(struct pv_state *st, const struct workload *w)
{
    char bytes[SECTORS * SECTOR_MAX];
    struct pair p;

    memset(&p, 0, sizeof(p));
    for (unsigned i = 0; i < w->disks; i++) {
        assert_int_equal(pv_state_read(st, i, 0, bytes, SECTORS * sector, NULL), 0);
        sectors_to_content(bytes, p.content + i * SECTORS);
    }
    p.marks = (unsigned)pv_state_marks(st);
    return p;
}

static struct set states_all(struct rig *r, const struct workload *w, const struct pv_states_opts *o)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_states *s = pv_states_new(r->rec, o, &err);
    struct pv_state *st;
    struct set all = {0};
    struct pair p;

    if (!s)
        fail_msg("%s", err.text);
    while ((st = pv_states_next(s, &err))) {
        p = pair_of_state(st, w);
        set_add(&all, &p);
        assert_int_equal(pv_state_number(st), all.n);
        pv_state_unref(st);
    }
    pv_states_free(s);
    return all;
}

/* The states at flushes or writes as the model has them, in order. */
static struct set model_at(const struct workload *w, bool at_write)
{
    struct set to = {0}, one = {0};
    unsigned set = 0;

    for (unsigned i = 0; i < w->n; i++) {
        bool dup = false;

        if (w->v[i].kind < FLUSH)
            set |= event_units(&w->v[i]);
        if (at_write ? w->v[i].kind >= FLUSH : w->v[i].kind != FLUSH)
            continue;
        one.n = 0;
        model_add(w, set, &one);
        assert_int_equal(one.n, 1);
        for (size_t k = 0; k < to.n; k++)
            dup |= compare_pairs(&to.v[k], &one.v[0]) == 0;
        if (!dup)
            set_add(&to, &one.v[0]);
    }
    free(one.v);
    return to;
}

static void check_at(struct rig *r, const struct workload *w, bool at_write)
{
    struct pv_states_opts o = {.at_write = at_write};
    struct set want = model_at(w, at_write), got = states_all(r, w, &o);

    assert_int_equal(got.n, want.n);
    if (want.n)
        assert_memory_equal(got.v, want.v, want.n * sizeof(*want.v));
    free(want.v);
    free(got.v);
}

static void check_all(struct rig *r, const struct workload *w, const struct pv_states_opts *o, bool complete)
{
    struct set want = {0}, got = states_all(r, w, o);

    model_all(w, o->torn, &want);
    assert_int_equal(set_sort(&got), 0);
    for (size_t i = 0; i < got.n; i++)
        assert_true(set_has(&want, &got.v[i]));
    if (complete)
        assert_int_equal(got.n, want.n);
    free(want.v);
    free(got.v);
}

/* A number gives the same state again, alone. */
static void check_number(struct rig *r, const struct workload *w, const struct pv_states_opts *o,
                         uint64_t *random)
{
    struct set all = states_all(r, w, o);
    struct pv_err err = PV_ERR_INIT;

    if (all.n) {
        unsigned i = below(random, (unsigned)all.n);
        struct pv_state *st = pv_disk_recording_state(r->rec, i + 1, o, &err);
        struct pair p;

        assert_non_null(st);
        p = pair_of_state(st, w);
        assert_memory_equal(&p, &all.v[i], sizeof(p));
        pv_state_unref(st);
    }
    assert_null(pv_disk_recording_state(r->rec, all.n + 1, o, &err));
    assert_null(pv_disk_recording_state(r->rec, 0, o, &err));
    free(all.v);
}

static void test_states(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= WORKLOADS; seed++) {
        struct workload w = workload_make(seed);
        struct pv_states_opts exhaustive = {.exhaustive = 20, .at_write = seed & 1},
                              torn = {.samples = 20, .torn = true, .seed = seed},
                              most = {.samples = 3000, .torn = true, .seed = seed};
        uint64_t random = seed;
        struct rig r;

        sector = seed & 2 ? 4096 : 512;
        rig_init(&r, &w, true);
        for (unsigned i = 0; i < w.n; i++)
            event_do(&r, &w.v[i]);
        assert_int_equal(pv_disk_recording_stop(r.rec, NULL), 0);
        check_at(&r, &w, false);
        check_at(&r, &w, true);
        check_all(&r, &w, &exhaustive, true);
        check_all(&r, &w, &torn, false);
        if (w.units <= 5 && seed % 16 == 0)
            check_all(&r, &w, &most, true);
        if (seed % 4 == 0)
            check_number(&r, &w, &torn, &random);
        rig_fini(&r, &w);
    }
}

/* ---- power cuts ---- */

static struct pair pair_of_disks(struct rig *r, const struct workload *w)
{
    char bytes[SECTORS * SECTOR_MAX];
    struct pair p;

    memset(&p, 0, sizeof(p));
    for (unsigned i = 0; i < w->disks; i++) {
        assert_int_equal(pv_disk_read(r->d[i], 0, bytes, SECTORS * sector, NULL), 0);
        sectors_to_content(bytes, p.content + i * SECTORS);
    }
    return p;
}

/* Units that are durable when all events are complete. */
static unsigned durable_units(const struct workload *w)
{
    unsigned set = 0;

    for (unsigned i = 0; i < w->n; i++)
        if (w->v[i].kind < FLUSH && forced(w, i) < w->n)
            set |= event_units(&w->v[i]);
    return set;
}

/* Freezes each disk and puts a disk on its image, which was saved and loaded, in its place. */
static void rig_clone(struct rig *r, const struct workload *w)
{
    struct pv_err err = PV_ERR_INIT;

    for (unsigned i = 0; i < w->disks; i++) {
        struct pv_disk_image *image = pv_disk_freeze(r->d[i], &err), *loaded;
        struct pv_disk_opts o = {.name = "clone", .dir = "/tmp"};
        int fd = pv_disk_tmpfile("/tmp", &err);

        assert_non_null(image);
        assert_int_equal(pv_disk_image_save(image, fd, &err), 0);
        loaded = pv_disk_image_load(fd, "/tmp", &err);
        if (!loaded)
            fail_msg("%s", err.text);
        close(fd);
        assert_int_equal(pv_disk_image_unflushed(loaded), pv_disk_unflushed(r->d[i]));
        pv_disk_free(r->d[i]);
        o.image = loaded;
        r->d[i] = pv_disk_new(loop, &o, &err);
        assert_non_null(r->d[i]);
        pv_disk_image_unref(image);
        pv_disk_image_unref(loaded);
    }
}

static void check_cut(const struct workload *w, uint64_t seed, enum pv_disk_keep keep, bool torn,
                      struct pair *out)
{
    struct set may = {0};
    struct pair all, none;
    struct rig r;

    memset(&all, 0, sizeof(all));
    none = all;
    rig_init(&r, w, false);
    for (unsigned i = 0; i < w->n; i++) {
        event_do(&r, &w->v[i]);
        if (seed % 3 == 0 && i == w->n / 2)
            rig_clone(&r, w);
    }
    content_of(w, (1u << w->units) - 1, all.content);
    content_of(w, durable_units(w), none.content);
    *out = pair_of_disks(&r, w);
    assert_memory_equal(out, &all, sizeof(all));
    assert_int_equal(pv_disk_power_cut(r.d, w->disks, keep, torn, seed, NULL), 0);
    *out = pair_of_disks(&r, w);
    if (keep != PV_DISK_KEEP_RANDOM)
        assert_memory_equal(out, keep == PV_DISK_KEEP_ALL ? &all : &none, sizeof(all));
    for (unsigned m = 0; keep == PV_DISK_KEEP_RANDOM && m < 1u << w->units; m++)
        if (allowed(w, m, w->n)) {
            struct pair p = none;

            content_of(w, m, p.content);
            set_add(&may, &p);
        }
    set_sort(&may);
    assert_true(keep != PV_DISK_KEEP_RANDOM || set_has(&may, out));
    for (unsigned i = 0; i < w->disks; i++)
        assert_int_equal(pv_disk_unflushed(r.d[i]), 0);
    free(may.v);
    rig_fini(&r, w);
}

static void test_power_cuts(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= WORKLOADS / 5; seed++) {
        struct workload w = workload_make(seed);
        struct pair a, b;

        sector = seed & 2 ? 4096 : 512;
        image_fd = seed % 3 == 1 ? pv_disk_tmpfile("/tmp", NULL) : -1;
        check_cut(&w, seed, PV_DISK_KEEP_NONE, false, &a);
        check_cut(&w, seed, PV_DISK_KEEP_ALL, false, &a);
        check_cut(&w, seed, PV_DISK_KEEP_RANDOM, seed & 1, &a);
        check_cut(&w, seed, PV_DISK_KEEP_RANDOM, seed & 1, &b);
        assert_memory_equal(&a, &b, sizeof(a));
        pv_close(&image_fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_power_cuts),
    };
    int r;

    loop = pv_loop_new(NULL);
    image_fd = -1;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    pv_loop_free(loop);
    return r;
}

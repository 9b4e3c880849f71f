/* SPDX-License-Identifier: MIT */
/* The arbiter alone: its rules one by one, then random runs, each of which must terminate. */
#include "util/test.h"

#include <string.h>

#include "pool/arbiter.h"
#include "util/err.h"
#include "util/mem.h"

#define G (UINT64_C(1) << 30)
#define M (UINT64_C(1) << 20)

static struct pv_pool *fixed_pool(uint64_t memory, unsigned cpus)
{
    return pv_pool_new(&(struct pv_pool_opts){.memory = memory, .cpus = cpus});
}

static void request_ask(struct pv_pool *p, struct pv_pool_request *r, struct pv_pool_file *f, uint64_t memory)
{
    struct pv_err err = PV_ERR_INIT;

    *r = (struct pv_pool_request){.file = f, .want = {memory, 1}};
    assert_int_equal(pv_pool_request(p, r, &err), 0);
}

static void assert_refused(struct pv_pool *p, struct pv_pool_file *f, uint64_t memory, unsigned cpus,
                           const char *text)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_pool_request r = {.file = f, .want = {memory, cpus}};

    assert_int_equal(pv_pool_request(p, &r, &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_string_equal(err.text, text);
    assert_false(pv_pool_waits(p));
}

static void too_large_is_refused_with_the_numbers(void **state)
{
    struct pv_pool *p = fixed_pool(2 * G, 2);
    struct pv_pool_file f = {0};
    struct pv_pool_request r;

    (void)state;
    assert_refused(p, &f, 2 * G + 1, 1,
                   "2G of memory are wanted, more than --mem gives to all VMs together: 2G");
    assert_refused(p, &f, G, 3,
                   "3 CPUs are wanted, the file's other VMs hold 0: more than --cpus gives to all VMs: 2");
    assert_refused(p, &f, UINT64_MAX, 1, "18446744073709551615 bytes of memory are wanted");
    request_ask(p, &r, &f, 1536 * M);
    assert_ptr_equal(pv_pool_next(p), &r);
    assert_refused(
        p, &f, 513 * M, 1,
        "513M of memory are wanted, the file's other VMs hold 1.5G: together 2G, more than --mem gives "
        "to all VMs together: 2G");
    pv_pool_free(p);
    p = pv_pool_new(&(struct pv_pool_opts){.most = 500 * M, .spare = 1536 * M});
    f = (struct pv_pool_file){0};
    assert_refused(
        p, &f, 512 * M, 1,
        "512M of memory are wanted, more than the 500M that this host (or its control group) has beside the "
        "1.5G that are kept free; --mem SIZE sets a budget");
    pv_pool_free(p);
}

/* Without --cpus, counts of any size are granted and released without a sum that overflows. */
static void cpus_are_bounded_without_a_limit(void **state)
{
    struct pv_pool *p = fixed_pool(2 * G, 0);
    struct pv_pool_file f[2] = {0};
    struct pv_pool_request r[2] = {{.file = &f[0], .want = {M, UINT32_MAX}},
                                   {.file = &f[1], .want = {M, UINT32_MAX - 1}}};

    (void)state;
    assert_int_equal(pv_pool_request(p, &r[0], NULL), 0);
    assert_ptr_equal(pv_pool_next(p), &r[0]);
    assert_refused(
        p, &f[0], M, 1,
        "1 CPUs are wanted, the file's other VMs hold 4294967295: more than all VMs together can have: "
        "4294967295");
    assert_false(pv_pool_acquire_standby(p, (struct pv_amount){M, 1}));
    assert_int_equal(pv_pool_request(p, &r[1], NULL), 0);
    assert_null(pv_pool_next(p));
    pv_pool_release(p, &f[0], r[0].want);
    assert_ptr_equal(pv_pool_next(p), &r[1]);
    assert_true(pv_pool_acquire_standby(p, (struct pv_amount){M, 1}));
    pv_pool_release_standby(p, (struct pv_amount){M, 1});
    pv_pool_release(p, &f[1], r[1].want);
    assert_true(pv_pool_held(p).memory == 0 && pv_pool_held(p).cpus == 0);
    pv_pool_free(p);
}

/* The CPUs of a standby VM are in use until it has ended. */
static void cpus_of_a_standby_count(void **state)
{
    struct pv_pool *p = fixed_pool(2 * G, 2);
    struct pv_pool_file f = {0};
    struct pv_pool_request r = {.file = &f, .want = {M, 2}};

    (void)state;
    assert_true(pv_pool_acquire_standby(p, (struct pv_amount){M, 1}));
    assert_int_equal(pv_pool_request(p, &r, NULL), 0);
    assert_null(pv_pool_next(p));
    pv_pool_release_standby(p, (struct pv_amount){M, 1});
    assert_ptr_equal(pv_pool_next(p), &r);
    pv_pool_free(p);
}

static void files_without_leases_in_order(void **state)
{
    struct pv_pool *p = fixed_pool(2 * G, 0);
    struct pv_pool_file f[3] = {0};
    struct pv_pool_request r[3];
    char text[PV_POOL_TEXT];

    (void)state;
    request_ask(p, &r[0], &f[0], 1536 * M);
    request_ask(p, &r[1], &f[1], G);
    request_ask(p, &r[2], &f[2], 256 * M);
    assert_ptr_equal(pv_pool_next(p), &r[0]);
    assert_null(pv_pool_next(p)); /* the third would fit, and would starve the second */
    pv_pool_wait_text(p, &r[1], text);
    assert_string_equal(text, "waiting for memory (1G; 1.5G of 2G in use)");
    assert_null(pv_pool_victim(p)); /* the first runs */
    pv_pool_release(p, &f[0], r[0].want);
    assert_ptr_equal(pv_pool_next(p), &r[1]);
    assert_ptr_equal(pv_pool_next(p), &r[2]);
    assert_null(pv_pool_next(p));
    pv_pool_free(p);
}

static void files_with_leases_first(void **state)
{
    struct pv_pool *p = fixed_pool(2 * G, 0);
    struct pv_pool_file f[3] = {0};
    struct pv_pool_request r[4];

    (void)state;
    request_ask(p, &r[0], &f[0], G);
    request_ask(p, &r[1], &f[1], 512 * M);
    assert_ptr_equal(pv_pool_next(p), &r[0]);
    assert_ptr_equal(pv_pool_next(p), &r[1]);
    request_ask(p, &r[2], &f[2], 512 * M);
    request_ask(p, &r[3], &f[1], 512 * M);
    assert_ptr_equal(pv_pool_next(p), &r[3]);
    assert_null(pv_pool_next(p));
    pv_pool_leave(p, &f[1]);
    assert_ptr_equal(pv_pool_next(p), &r[2]);
    pv_pool_free(p);
}

static void youngest_of_a_deadlock_restarts(void **state)
{
    struct pv_pool *p = fixed_pool(G, 0);
    struct pv_pool_file f[2] = {0};
    struct pv_pool_request r[4];

    (void)state;
    request_ask(p, &r[0], &f[0], 512 * M);
    request_ask(p, &r[1], &f[1], 512 * M);
    assert_ptr_equal(pv_pool_next(p), &r[0]);
    assert_ptr_equal(pv_pool_next(p), &r[1]);
    request_ask(p, &r[2], &f[1], 512 * M);
    assert_null(pv_pool_next(p));
    assert_null(pv_pool_victim(p)); /* the first file may still end */
    request_ask(p, &r[3], &f[0], 512 * M);
    assert_null(pv_pool_next(p));
    assert_ptr_equal(pv_pool_victim(p), &f[1]);
    assert_null(pv_pool_victim(p)); /* the victim is being restarted already */
    assert_null(pv_pool_next(p));
    pv_pool_cancel(p, &r[2]);
    pv_pool_leave(p, &f[1]);
    assert_ptr_equal(pv_pool_next(p), &r[3]);
    /* The restarted file waits until its whole need fits. */
    request_ask(p, &r[1], &f[1], 512 * M);
    pv_pool_release(p, &f[0], r[0].want);
    assert_null(pv_pool_next(p));
    pv_pool_leave(p, &f[0]);
    assert_ptr_equal(pv_pool_next(p), &r[1]);
    pv_pool_free(p);
}

/* One file holds memory and waits for a fixture; the file that builds the fixture waits for memory. */
static void waiting_for_another_file_counts(void **state)
{
    struct pv_pool *p = fixed_pool(G, 0);
    struct pv_pool_file a = {0}, b = {0};
    struct pv_pool_request ra, rb;

    (void)state;
    request_ask(p, &ra, &a, 768 * M);
    assert_ptr_equal(pv_pool_next(p), &ra);
    request_ask(p, &rb, &b, 512 * M);
    assert_null(pv_pool_next(p));
    assert_null(pv_pool_victim(p));
    a.blocked++;
    assert_null(pv_pool_next(p));
    assert_ptr_equal(pv_pool_victim(p), &a);
    pv_pool_leave(p, &a);
    assert_int_equal(a.blocked, 0); /* it begins again, and waits for nothing */
    assert_ptr_equal(pv_pool_next(p), &rb);
    pv_pool_free(p);
}

static void host_without_room_is_unsatisfiable(void **state)
{
    struct pv_pool *p = pv_pool_new(&(struct pv_pool_opts){.most = 4 * G, .spare = 1536 * M});
    struct pv_pool_file a = {0}, b = {0};
    struct pv_pool_request ra, rb;
    char text[PV_POOL_TEXT];

    (void)state;
    pv_pool_set_room(p, 600 * M);
    request_ask(p, &ra, &a, 512 * M);
    assert_ptr_equal(pv_pool_next(p), &ra);
    request_ask(p, &rb, &b, 512 * M);
    assert_null(pv_pool_next(p));
    pv_pool_wait_text(p, &rb, text);
    assert_string_equal(text, "waiting for memory (512M; the host has 88M beside the 1.5G that stay free)");
    assert_null(pv_pool_unsatisfiable(p)); /* the other file will release */
    pv_pool_leave(p, &a);
    assert_null(pv_pool_next(p)); /* not measured yet */
    assert_ptr_equal(pv_pool_unsatisfiable(p), &rb);
    pv_pool_set_room(p, 512 * M);
    assert_ptr_equal(pv_pool_next(p), &rb);
    pv_pool_free(p);
}

/* Memory beyond the grants delays other files, and never the only holder. */
static void beyond_counts_beside_others(void **state)
{
    struct pv_pool *p = pv_pool_new(&(struct pv_pool_opts){.memory = G});
    struct pv_pool_file a = {0}, b = {0};
    struct pv_pool_request ra, rb;
    char text[PV_POOL_TEXT];

    (void)state;
    request_ask(p, &ra, &a, 512 * M);
    assert_ptr_equal(pv_pool_next(p), &ra);
    pv_pool_set_beyond(p, 100 * M);
    assert_false(pv_pool_acquire_standby(p, (struct pv_amount){512 * M, 1}));
    request_ask(p, &rb, &b, 512 * M);
    assert_null(pv_pool_next(p));
    pv_pool_wait_text(p, &rb, text);
    assert_string_equal(text, "waiting for memory (512M; 612M of 1G in use)");
    request_ask(p, &ra, &a, 512 * M);
    assert_ptr_equal(pv_pool_next(p), &ra); /* it fits by itself, whatever QEMU takes */
    pv_pool_leave(p, &a);
    assert_ptr_equal(pv_pool_next(p), &rb); /* nobody holds any: what was measured is of the past */
    pv_pool_set_beyond(p, 0);
    request_ask(p, &ra, &a, 512 * M);
    assert_ptr_equal(pv_pool_next(p), &ra);
    pv_pool_free(p);
}

static void sizes_as_text(void **state)
{
    char buf[32];

    (void)state;
    assert_string_equal(pv_pool_size(0, buf), "0M");
    assert_string_equal(pv_pool_size(512 * M, buf), "512M");
    assert_string_equal(pv_pool_size(G - 1, buf), "1G");
    assert_string_equal(pv_pool_size(1229 * M, buf), "1.2G");
    assert_string_equal(pv_pool_size(2 * G, buf), "2G");
    assert_string_equal(pv_pool_size(64 * G, buf), "64G");
}

/* ---- random runs ---- */

enum { MAX_STEPS = 12, MAX_FILES = 40 };

/* A file acquires, releases one of its VMs, or works; alone, it never wants more than the whole. */
struct step {
    enum { ACQUIRE, RELEASE, WORK } what;
    struct pv_amount a;
};

struct file {
    struct pv_pool_file account;
    struct pv_pool_request request;
    struct step steps[MAX_STEPS];
    int n, at;
    enum { PENDING, RUNNING, WAITING, DONE } state;
    struct pv_amount vms[MAX_STEPS];
    int n_vms;
    int restarts;
};

struct sim {
    struct pv_pool *p;
    struct pv_amount budget;
    struct file files[MAX_FILES];
    int n, jobs, running, done;
    uint64_t host, others; /* free mode: the host's memory without the spare; the use of other programs */
    bool free;
    uint64_t seed;
    uint64_t last_first; /* `since` of the newcomer that was granted last */
};

static uint32_t sim_rnd(struct sim *s, uint32_t below)
{
    s->seed = s->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(s->seed >> 33) % below;
}

static void make_file(struct sim *s, struct file *f)
{
    struct pv_amount vms[MAX_STEPS], held = {0, 0};
    int n_vms = 0;

    *f = (struct file){.n = 1 + (int)sim_rnd(s, MAX_STEPS)};
    for (int i = 0; i < f->n; i++) {
        struct step *st = &f->steps[i];
        uint32_t dice = sim_rnd(s, 10);
        struct pv_amount a = {(1 + sim_rnd(s, 16)) * 128 * M, 1 + sim_rnd(s, 3)};

        st->what = WORK;
        if (dice < 5 && held.memory + a.memory <= s->budget.memory && held.cpus + a.cpus <= s->budget.cpus) {
            *st = (struct step){ACQUIRE, a};
            vms[n_vms++] = a;
            held.memory += a.memory;
            held.cpus += a.cpus;
        } else if (dice < 7 && n_vms) {
            st->what = RELEASE;
            n_vms--;
            held.memory -= vms[n_vms].memory;
            held.cpus -= vms[n_vms].cpus;
        }
    }
}

static void assert_invariants(struct sim *s)
{
    struct pv_amount sum = {0, 0};

    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < s->files[i].n_vms; k++) {
            sum.memory += s->files[i].vms[k].memory;
            sum.cpus += s->files[i].vms[k].cpus;
        }
    assert_true(sum.memory == pv_pool_held(s->p).memory && sum.cpus == pv_pool_held(s->p).cpus);
    if (!s->free)
        assert_true(sum.memory <= s->budget.memory);
    assert_true(sum.cpus <= s->budget.cpus);
}

static struct file *file_of(struct pv_pool_file *a)
{
    return PV_CONTAINER_OF(a, struct file, account);
}

static void end_file(struct sim *s, struct file *f)
{
    if (f->state == WAITING)
        pv_pool_cancel(s->p, &f->request);
    f->n_vms = 0;
    pv_pool_leave(s->p, &f->account);
    s->running--;
}

static void sim_measure(struct sim *s)
{
    uint64_t held = pv_pool_held(s->p).memory, used = held + s->others;

    if (s->free)
        pv_pool_set_room(s->p, used < s->host ? s->host - used : 0);
    else
        pv_pool_set_beyond(s->p, held ? (uint64_t)s->others % (held / 2) : 0);
}

static void sim_serve(struct sim *s)
{
    struct pv_pool_request *r;
    struct pv_pool_file *victim;

    sim_measure(s);
    for (;;) {
        bool newcomer;

        if (!(r = pv_pool_next(s->p)))
            break;
        struct file *f = file_of(r->file);

        newcomer = f->n_vms == 0;
        if (newcomer) /* no file that asked earlier still waits without a VM */
            for (int i = 0; i < s->n; i++)
                assert_false(s->files[i].state == WAITING && &s->files[i] != f && s->files[i].n_vms == 0 &&
                             s->files[i].account.first < f->account.first);
        f->vms[f->n_vms++] = r->want;
        f->state = RUNNING;
        f->at++;
        if (s->free)
            assert_true(pv_pool_held(s->p).memory + s->others <= s->host);
        assert_invariants(s);
    }
    if ((victim = pv_pool_victim(s->p))) {
        struct file *f = file_of(victim);

        for (int i = 0; i < s->n; i++) /* the oldest file is never the victim */
            assert_false(s->files[i].account.since > victim->since);
        end_file(s, f);
        f->at = 0;
        f->state = PENDING;
        f->restarts++;
        assert_true(f->restarts <= MAX_STEPS);
        assert_invariants(s);
    }
}

static void file_advance(struct sim *s, struct file *f)
{
    struct pv_err err = PV_ERR_INIT;
    struct step *st = &f->steps[f->at];

    if (f->at == f->n) {
        end_file(s, f);
        f->state = DONE;
        s->done++;
        return;
    }
    switch (st->what) {
    case ACQUIRE:
        f->request = (struct pv_pool_request){.file = &f->account, .want = st->a};
        assert_int_equal(pv_pool_request(s->p, &f->request, &err), 0);
        f->state = WAITING;
        return;
    case RELEASE:
        pv_pool_release(s->p, &f->account, f->vms[--f->n_vms]);
        break;
    case WORK:
        break;
    }
    f->at++;
}

static int sim_run(uint64_t seed, bool free_mode)
{
    struct sim s = {.seed = seed, .free = free_mode};
    int restarts = 0;
    long steps = 0;

    s.budget = (struct pv_amount){(4 + sim_rnd(&s, 40)) * 128 * M, 2 + sim_rnd(&s, 8)};
    s.host = s.budget.memory;
    s.p = free_mode ? pv_pool_new(&(struct pv_pool_opts){.most = s.host, .cpus = s.budget.cpus})
                    : fixed_pool(s.budget.memory, s.budget.cpus);
    s.n = 2 + (int)sim_rnd(&s, MAX_FILES - 2);
    s.jobs = 1 + (int)sim_rnd(&s, (uint32_t)s.n);
    for (int i = 0; i < s.n; i++)
        make_file(&s, &s.files[i]);
    while (s.done < s.n) {
        struct file *f = &s.files[sim_rnd(&s, (uint32_t)s.n)];

        assert_true(++steps < 2000000);
        if (free_mode && sim_rnd(&s, 50) == 0) { /* another program starts or ends */
            uint64_t can = s.host - pv_pool_held(s.p).memory;

            s.others = sim_rnd(&s, 4) ? 0 : can / (1 + sim_rnd(&s, 4));
            sim_serve(&s);
        }
        if (f->state == PENDING && s.running < s.jobs) {
            f->state = RUNNING;
            s.running++;
        } else if (f->state == RUNNING) {
            file_advance(&s, f);
            assert_invariants(&s);
            sim_serve(&s);
        }
    }
    assert_false(pv_pool_waits(s.p));
    assert_true(pv_pool_held(s.p).memory == 0 && pv_pool_held(s.p).cpus == 0);
    for (int i = 0; i < s.n; i++)
        restarts += s.files[i].restarts;
    pv_pool_free(s.p);
    return restarts;
}

static void random_runs_terminate(void **state)
{
    int restarts = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++)
        restarts += sim_run(seed, seed % 3 == 0);
    assert_true(restarts > 100); /* else the runs proved nothing about restarts */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_large_is_refused_with_the_numbers),
        cmocka_unit_test(cpus_are_bounded_without_a_limit),
        cmocka_unit_test(cpus_of_a_standby_count),
        cmocka_unit_test(files_without_leases_in_order),
        cmocka_unit_test(files_with_leases_first),
        cmocka_unit_test(youngest_of_a_deadlock_restarts),
        cmocka_unit_test(waiting_for_another_file_counts),
        cmocka_unit_test(host_without_room_is_unsatisfiable),
        cmocka_unit_test(beyond_counts_beside_others),
        cmocka_unit_test(sizes_as_text),
        cmocka_unit_test(random_runs_terminate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

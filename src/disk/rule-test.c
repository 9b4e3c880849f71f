/* SPDX-License-Identifier: MIT */
/* Fault rules, delays, hangs, triggers and QEMU's own flushes, as an NBD client sees them. */
#include "util/test.h"

#include <string.h>

#include "disk/client.h"
#include "disk/rule.h"
#include "util/mem.h"

static struct pv_loop *loop;
static char block[65536];

struct rig {
    struct pv_disk *d;
    struct client c;
};

static void rig_init(struct rig *r)
{
    struct pv_disk_opts o = {.name = "data", .dir = "/tmp", .size = 1 << 20};

    r->d = pv_disk_new(loop, &o, NULL);
    assert_non_null(r->d);
    client_start(&r->c, loop, r->d);
}

static void rig_fini(struct rig *r)
{
    client_end(&r->c);
    pv_disk_free(r->d);
}

static int do_op(struct rig *r, enum pv_disk_op op, uint64_t at)
{
    static const unsigned commands[] = {PV_NBD_READ, PV_NBD_WRITE, PV_NBD_FLUSH, PV_NBD_TRIM};

    return client_do(&r->c, commands[op], 0, op == PV_DISK_FLUSH ? 0 : at, op == PV_DISK_FLUSH ? 0 : 512,
                     op == PV_DISK_READ || op == PV_DISK_WRITE ? block : NULL);
}

/* Each op with each errno: fails by the rule, the others pass; NBD has no ETIMEDOUT. */
static void test_ops_and_errnos(void **state)
{
    static const int errnos[] = {EIO,       ENOSPC,     EPERM,     ENOMEM,   EINVAL,
                                 EOVERFLOW, EOPNOTSUPP, ESHUTDOWN, ETIMEDOUT};
    struct rig r;

    (void)state;
    rig_init(&r);
    for (int op = PV_DISK_READ; op <= PV_DISK_ANY; op++)
        for (size_t i = 0; i < PV_ARRAY_LEN(errnos); i++) {
            struct pv_disk_fail f = PV_DISK_FAIL_INIT;
            struct pv_disk_rule *rule;
            int wire = errnos[i] == ETIMEDOUT ? EIO : errnos[i];

            f.op = (enum pv_disk_op)op;
            f.errnum = errnos[i];
            rule = pv_disk_fail(r.d, &f, NULL);
            assert_non_null(rule);
            for (int other = PV_DISK_READ; other < PV_DISK_ANY; other++)
                assert_int_equal(do_op(&r, (enum pv_disk_op)other, 0),
                                 other == op || op == PV_DISK_ANY ? wire : 0);
            assert_int_equal(pv_disk_rule_hits(rule), op == PV_DISK_ANY ? 4 : 1);
            pv_disk_rule_remove(rule);
            assert_int_equal(do_op(&r, PV_DISK_WRITE, 0), 0);
            pv_disk_rule_unref(rule);
        }
    rig_fini(&r);
}

/* "The third write after now that touches bytes 4096 to 8191", and the neighbours of the range. */
static void test_range_after_times(void **state)
{
    struct pv_disk_fail f = PV_DISK_FAIL_INIT;
    struct pv_disk_rule *rule;
    struct rig r;

    (void)state;
    rig_init(&r);
    f.op = PV_DISK_WRITE;
    f.from = 4096;
    f.to = 8191;
    f.after = 2;
    f.times = 1;
    rule = pv_disk_fail(r.d, &f, NULL);
    assert_string_equal(pv_disk_rule_text(rule), "fail write of bytes 4096-8191 with EIO, after 2, times 1");
    assert_int_equal(do_op(&r, PV_DISK_WRITE, 4096), 0);
    assert_int_equal(do_op(&r, PV_DISK_WRITE, 4096 - 512), 0);
    assert_int_equal(do_op(&r, PV_DISK_WRITE, 8192), 0);
    assert_int_equal(do_op(&r, PV_DISK_READ, 4096), 0);
    assert_int_equal(client_do(&r.c, PV_NBD_WRITE, 0, 0, 65536, block), 0);
    assert_int_equal(do_op(&r, PV_DISK_WRITE, 8192 - 512), EIO);
    assert_int_equal(do_op(&r, PV_DISK_WRITE, 4096), 0);
    assert_int_equal(pv_disk_rule_hits(rule), 1);
    assert_int_equal(pv_disk_rule_matches(rule), 4);
    pv_disk_rule_unref(rule);
    rig_fini(&r);
}

static unsigned count_failures(struct rig *r, const struct pv_disk_fail *f, unsigned n, uint64_t *pattern)
{
    struct pv_disk_rule *rule = pv_disk_fail(r->d, f, NULL);
    unsigned failed = 0;

    assert_non_null(rule);
    *pattern = 0;
    for (unsigned i = 0; i < n; i++) {
        bool bad = do_op(r, PV_DISK_WRITE, 0) != 0;

        failed += bad;
        *pattern = *pattern << 1 | bad;
    }
    assert_int_equal(pv_disk_rule_hits(rule), failed);
    pv_disk_rule_remove(rule);
    pv_disk_rule_unref(rule);
    return failed;
}

static void test_every_and_chance(void **state)
{
    struct pv_disk_fail f = PV_DISK_FAIL_INIT;
    uint64_t first, again, other;
    struct rig r;

    (void)state;
    rig_init(&r);
    f.every = 3;
    f.after = 1;
    assert_int_equal(count_failures(&r, &f, 8, &first), 2);
    assert_int_equal(first, 0x12); /* 00010010: the third and the sixth behind the first one */
    f = (struct pv_disk_fail)PV_DISK_FAIL_INIT;
    f.chance = 0.5;
    count_failures(&r, &f, 60, &first);
    count_failures(&r, &f, 60, &again);
    f.seed = 2;
    count_failures(&r, &f, 60, &other);
    assert_true(first == again);
    assert_true(first != other);
    assert_true(first != 0);
    rig_fini(&r);
}

static void test_bad_rules(void **state)
{
    const struct pv_disk_fail init = PV_DISK_FAIL_INIT;
    struct pv_disk_fail bad[7] = {init, init, init, init, init, init, init};
    struct pv_err err = PV_ERR_INIT;
    struct rig r;

    (void)state;
    rig_init(&r);
    bad[0].from = 5, bad[0].to = 4;
    bad[1].from = 1 << 20;
    bad[2].errnum = ENOENT;
    bad[3].every = 0;
    bad[4].chance = 0;
    bad[5].chance = 1.5;
    bad[6].op = PV_DISK_FLUSH, bad[6].to = 100;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        err.cls = PV_E_NONE;
        assert_null(pv_disk_fail(r.d, &bad[i], &err));
        assert_int_equal(err.cls, PV_E_USAGE);
    }
    assert_null(pv_disk_delay(r.d, PV_DISK_ANY, 0, 0, &err));
    rig_fini(&r);
}

static void test_delay_and_rate(void **state)
{
    struct pv_disk_rule *rule;
    int64_t begin = pv_now();
    struct rig r;

    (void)state;
    rig_init(&r);
    rule = pv_disk_delay(r.d, PV_DISK_READ, 50 * PV_NSEC_PER_MSEC, 0, NULL);
    assert_int_equal(do_op(&r, PV_DISK_READ, 0), 0);
    assert_true(pv_now() - begin >= 50 * PV_NSEC_PER_MSEC);
    assert_int_equal(pv_disk_rule_hits(rule), 1);
    pv_disk_rule_remove(rule);
    pv_disk_rule_unref(rule);
    begin = pv_now();
    pv_disk_rule_unref(pv_disk_delay(r.d, PV_DISK_WRITE, 0, 1000000, NULL));
    for (int i = 0; i < 2; i++)
        assert_int_equal(client_do(&r.c, PV_NBD_WRITE, 0, 0, 50176, block), 0);
    assert_true(pv_now() - begin >= 100 * PV_NSEC_PER_MSEC);
    rig_fini(&r);
}

/* A hanging request is carried out after unhang, or dropped; a removed delay lets its requests go on at once. */
static void test_hang(void **state)
{
    struct pv_disk_rule *rule;
    uint64_t write, flush;
    struct rig r;

    (void)state;
    rig_init(&r);
    pv_disk_hang(r.d);
    write = client_send(&r.c, PV_NBD_WRITE, 0, 0, 512, memset(block, 7, 512));
    flush = client_send(&r.c, PV_NBD_FLUSH, 0, 0, 0, NULL);
    assert_true(client_waits(&r.c));
    assert_int_equal(pv_disk_unflushed(r.d), 0);
    pv_disk_clear(r.d);
    assert_int_equal(client_reply(&r.c, write, NULL, 0), 0);
    assert_int_equal(client_reply(&r.c, flush, NULL, 0), 0);
    rule = pv_disk_delay(r.d, PV_DISK_ANY, 3600 * PV_NSEC_PER_SEC, 0, NULL);
    write = client_send(&r.c, PV_NBD_WRITE, 0, 0, 512, block);
    assert_true(client_waits(&r.c));
    pv_disk_rule_remove(rule);
    assert_int_equal(client_reply(&r.c, write, NULL, 0), 0);
    pv_disk_rule_unref(rule);
    pv_disk_hang(r.d);
    pv_disk_flush(r.d);
    write = client_send(&r.c, PV_NBD_WRITE, 0, 0, 512, block);
    assert_true(client_waits(&r.c));
    pv_disk_drop_hanging(r.d);
    assert_int_equal(client_reply(&r.c, write, NULL, 0), EIO);
    assert_int_equal(pv_disk_unflushed(r.d), 0);
    client_send(&r.c, PV_NBD_WRITE, 0, 0, 512, block);
    assert_true(client_waits(&r.c));
    rig_fini(&r); /* with a request that hangs */
}

/* A hung disk stops reading before its memory is full: here 32 MiB each. */
static void test_memory_is_bounded(void **state)
{
    struct pv_disk_opts o = {.name = "data", .dir = "/tmp", .size = 1 << 30};
    cleanup_free char *data = pv_xcalloc(1, PV_DISK_MAX_TRANSFER);
    struct pv_disk *d = pv_disk_new(loop, &o, NULL);
    struct pv_nbd_header h;
    struct client c;
    int64_t deadline;
    size_t sent = 0;

    (void)state;
    client_start(&c, loop, d);
    pv_disk_hang(d);
    for (int i = 0; i < 4; i++)
        client_send(&c, PV_NBD_WRITE, 0, 0, PV_DISK_MAX_TRANSFER, data);
    memset(&h, 0, sizeof(h));
    deadline = pv_now() + PV_NSEC_PER_SEC / 2;
    while (pv_now() < deadline) {
        ssize_t r = send(c.fd, data, 65536, MSG_DONTWAIT | MSG_NOSIGNAL);

        sent += r > 0 ? (size_t)r : 0;
        client_turn(&c);
    }
    assert_in_range(sent, 0, 8 << 20); /* the socket's buffer, and one read of the server */
    client_end(&c);
    pv_disk_free(d);
}

struct fired {
    unsigned n;
    uint64_t unflushed;
};

static void on_trigger(struct pv_disk *d, void *arg)
{
    struct fired *f = arg;

    f->n++;
    f->unflushed = pv_disk_unflushed(d);
    assert_int_equal(pv_disk_power_cut(&d, 1, PV_DISK_KEEP_NONE, false, 1, NULL), 0);
}

/* A power cut at the second flush, before it is carried out. */
static void test_trigger(void **state)
{
    struct fired fired = {0, 0};
    struct rig r;
    char got[512];

    (void)state;
    rig_init(&r);
    pv_disk_trigger(r.d, PV_DISK_FLUSH, 1, on_trigger, &fired);
    assert_int_equal(client_do(&r.c, PV_NBD_WRITE, 0, 0, 512, memset(block, 1, 512)), 0);
    assert_int_equal(do_op(&r, PV_DISK_FLUSH, 0), 0);
    assert_int_equal(client_do(&r.c, PV_NBD_WRITE, 0, 0, 512, memset(block, 2, 512)), 0);
    assert_int_equal(do_op(&r, PV_DISK_FLUSH, 0), -1);
    assert_int_equal(fired.n, 1);
    assert_int_equal(fired.unflushed, 512);
    assert_int_equal(pv_disk_read(r.d, 0, got, 512, NULL), 0);
    assert_int_equal(got[0], 1);
    close(r.c.fd);
    client_start(&r.c, loop, r.d);
    assert_int_equal(client_do(&r.c, PV_NBD_READ, 0, 0, 512, got), 0);
    assert_int_equal(got[511], 1);
    rig_fini(&r);
}

static void on_hit(struct pv_disk_rule *rule, void *arg)
{
    ++*(unsigned *)arg;
    if (*(unsigned *)arg == 2)
        pv_disk_rule_remove(rule);
}

static void test_on_hit(void **state)
{
    struct pv_disk_fail f = PV_DISK_FAIL_INIT;
    unsigned hits = 0;
    struct rig r;

    (void)state;
    rig_init(&r);
    f.on_hit = on_hit;
    f.arg = &hits;
    pv_disk_rule_unref(pv_disk_fail(r.d, &f, NULL));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(do_op(&r, PV_DISK_READ, 0), i < 2 ? EIO : 0);
        client_turn(&r.c);
    }
    assert_int_equal(hits, 2);
    rig_fini(&r);
}

/* FUA makes its own write durable alone; a later flush applies the older one in its order. */
static void test_fua(void **state)
{
    struct rig r;
    char got[512];

    (void)state;
    for (int flush = 0; flush < 2; flush++) {
        rig_init(&r);
        assert_int_equal(client_do(&r.c, PV_NBD_WRITE, 0, 0, 1024, memset(block, 1, 1024)), 0);
        assert_int_equal(client_do(&r.c, PV_NBD_WRITE, PV_NBD_FLAG_FUA, 0, 512, memset(block, 2, 512)), 0);
        assert_int_equal(pv_disk_unflushed(r.d), 1024);
        if (flush)
            assert_int_equal(do_op(&r, PV_DISK_FLUSH, 0), 0);
        assert_int_equal(pv_disk_power_cut(&r.d, 1, PV_DISK_KEEP_NONE, false, 1, NULL), 0);
        assert_int_equal(pv_disk_read(r.d, 0, got, 512, NULL), 0);
        assert_int_equal(got[0], 2);
        assert_int_equal(pv_disk_read(r.d, 512, got, 512, NULL), 0);
        assert_int_equal(got[0], flush);
        rig_fini(&r);
    }
}

/* Flushes of QEMU itself flush nothing and count nowhere; one discard is swallowed on demand. */
static void test_stopped(void **state)
{
    struct pv_disk_stats s;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(client_do(&r.c, PV_NBD_WRITE, 0, 0, 512, block), 0);
    pv_disk_guest_stopped(r.d, true);
    assert_int_equal(do_op(&r, PV_DISK_FLUSH, 0), 0);
    pv_disk_swallow(r.d);
    assert_int_equal(do_op(&r, PV_DISK_DISCARD, 0), 0);
    pv_disk_guest_stopped(r.d, false);
    assert_int_equal(pv_disk_unflushed(r.d), 512);
    pv_disk_stats(r.d, &s);
    assert_int_equal(s.requests[PV_DISK_FLUSH], 0);
    assert_int_equal(s.requests[PV_DISK_DISCARD], 0);
    assert_int_equal(s.requests[PV_DISK_WRITE], 1);
    assert_int_equal(s.bytes[PV_DISK_WRITE], 512);
    assert_int_equal(do_op(&r, PV_DISK_FLUSH, 0), 0);
    assert_int_equal(pv_disk_unflushed(r.d), 0);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops_and_errnos),
        cmocka_unit_test(test_range_after_times),
        cmocka_unit_test(test_every_and_chance),
        cmocka_unit_test(test_bad_rules),
        cmocka_unit_test(test_delay_and_rate),
        cmocka_unit_test(test_hang),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_trigger),
        cmocka_unit_test(test_on_hit),
        cmocka_unit_test(test_fua),
        cmocka_unit_test(test_stopped),
    };
    int r;

    loop = pv_loop_new(NULL);
    r = cmocka_run_group_tests(tests, NULL, NULL);
    pv_loop_free(loop);
    return r;
}

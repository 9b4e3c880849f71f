/* SPDX-License-Identifier: MIT */
/* Replies in chunks, as an NBD client sees them that asked for them. */
#include "util/test.h"

#include <string.h>

#include "disk/client.h"
#include "disk/rule.h"
#include "util/mem.h"

enum { SIZE = 4 << 20 };

static struct pv_loop *loop;
static char content[SIZE], got[SIZE];

/* The option and its reply; EXPORT_NAME ends the handshake. */
static void structured_start(struct client *c, struct pv_disk *d)
{
    struct pv_nbd_option bad = {htobe64(PV_NBD_OPTION_MAGIC), htobe32(PV_NBD_OPT_STRUCTURED_REPLY),
                                htobe32(1)};
    struct pv_nbd_option good = {bad.magic, bad.option, 0};
    struct pv_nbd_option end = {bad.magic, htobe32(PV_NBD_OPT_EXPORT_NAME), 0};
    uint32_t flags = htobe32(PV_NBD_FIXED_NEWSTYLE | PV_NBD_NO_ZEROES);
    struct pv_nbd_option_reply r;
    char export[10];

    client_connect(c, loop, d);
    client_put(c, &flags, sizeof(flags));
    client_put(c, &bad, sizeof(bad));
    client_put(c, "x", 1);
    assert_true(client_get(c, &r, sizeof(r)));
    assert_int_equal(be32toh(r.type), PV_NBD_REP_ERR_INVALID);
    client_put(c, &good, sizeof(good));
    assert_true(client_get(c, &r, sizeof(r)));
    assert_int_equal(be32toh(r.type), PV_NBD_REP_ACK);
    client_put(c, &end, sizeof(end));
    assert_true(client_get(c, export, sizeof(export)));
}

/* A read by its chunks, which cover the range in any order, each byte once; its error, and the bytes of holes. */
static int chunks_read(struct client *c, uint64_t at, uint32_t n, uint64_t *holes)
{
    uint64_t cookie = client_send(c, PV_NBD_READ, 0, at, n, NULL), seen = 0;
    struct pv_nbd_chunk h;
    int error = 0;

    *holes = 0;
    do {
        struct pv_nbd_chunk_error e;
        uint64_t offset;
        uint32_t len;

        assert_true(client_get(c, &h, sizeof(h)));
        assert_int_equal(be32toh(h.magic), PV_NBD_CHUNK_MAGIC);
        assert_int_equal(h.cookie, cookie);
        if (be16toh(h.type) == PV_NBD_CHUNK_ERROR) {
            assert_int_equal(be32toh(h.length), sizeof(e));
            assert_true(client_get(c, &e, sizeof(e)));
            assert_int_equal(e.text, 0);
            error = (int)be32toh(e.error);
            continue;
        }
        assert_true(client_get(c, &offset, sizeof(offset)));
        offset = be64toh(offset);
        len = be32toh(h.length) - (uint32_t)sizeof(offset);
        if (be16toh(h.type) == PV_NBD_CHUNK_HOLE) {
            assert_int_equal(len, sizeof(len));
            assert_true(client_get(c, &len, sizeof(len)));
            len = be32toh(len);
            *holes += len;
        }
        assert_true(len && offset >= at && offset + len <= at + n);
        if (be16toh(h.type) == PV_NBD_CHUNK_HOLE)
            memset(got + offset, 0, len);
        else
            assert_true(client_get(c, got + offset, len));
        seen += len;
    } while (!(be16toh(h.flags) & PV_NBD_CHUNK_DONE));
    assert_true(error || seen == n);
    return error;
}

static struct pv_disk *disk_new(void)
{
    struct pv_disk_opts o = {.name = "data", .dir = "/tmp", .size = SIZE};
    struct pv_disk *d = pv_disk_new(loop, &o, NULL);

    assert_non_null(d);
    return d;
}

/* Data and holes of all sizes: each range reads as it is, and what is never written is not sent. */
static void test_data_and_holes(void **state)
{
    static const struct {
        uint64_t at, len;
    } written[] = {
        {4096, 512}, {200000, 70000}, {1 << 20, 300 << 10}, {(2 << 20) + 512, 512}, {SIZE - 512, 512}};
    struct pv_disk *d = disk_new();
    uint64_t holes;
    struct client c;

    (void)state;
    structured_start(&c, d);
    assert_int_equal(chunks_read(&c, 0, SIZE, &holes), 0);
    assert_int_equal(holes, SIZE);
    for (size_t i = 0; i < PV_ARRAY_LEN(written); i++) {
        uint64_t at = written[i].at / 512 * 512, len = written[i].len / 512 * 512;

        memset(content + at, (int)(i + 1), len);
        assert_int_equal(client_do(&c, PV_NBD_WRITE, 0, at, (uint32_t)len, content + at), 0);
    }
    assert_int_equal(chunks_read(&c, 0, SIZE, &holes), 0);
    assert_memory_equal(got, content, SIZE);
    assert_true(holes > SIZE / 2 && holes < SIZE - (300 << 10));
    for (unsigned i = 0; i < 400; i++) {
        uint64_t at = (i * 7919u % (SIZE / 512)) * 512, n = (i * 104729u % 700 + 1) * 512;

        n = n < SIZE - at ? n : SIZE - at;
        memset(got, 0xff, sizeof(got));
        assert_int_equal(chunks_read(&c, at, (uint32_t)n, &holes), 0);
        assert_memory_equal(got + at, content + at, n);
    }
    client_end(&c);
    pv_disk_free(d);
}

/* A failed read is told in a chunk, anything else by a simple reply; both go on. */
static void test_errors(void **state)
{
    struct pv_disk_fail f = PV_DISK_FAIL_INIT;
    struct pv_disk *d = disk_new();
    struct pv_disk_rule *rule;
    char block[512] = {0};
    struct client c;
    uint64_t holes;

    (void)state;
    structured_start(&c, d);
    f.op = PV_DISK_ANY;
    f.errnum = ENOSPC;
    rule = pv_disk_fail(d, &f, NULL);
    assert_non_null(rule);
    assert_int_equal(chunks_read(&c, 0, 1 << 20, &holes), ENOSPC);
    assert_int_equal(client_do(&c, PV_NBD_WRITE, 0, 0, sizeof(block), block), ENOSPC);
    pv_disk_clear(d);
    pv_disk_rule_unref(rule);
    assert_int_equal(chunks_read(&c, SIZE, 512, &holes), EINVAL);
    assert_int_equal(chunks_read(&c, 1, 512, &holes), EINVAL);
    assert_int_equal(client_do(&c, PV_NBD_WRITE, 0, 0, sizeof(block), block), 0);
    assert_int_equal(chunks_read(&c, 0, 512, &holes), 0);
    client_end(&c);
    pv_disk_free(d);
}

/* Replies that the client does not take are not made: what waits is bounded by one reply more than the limit. */
static void test_slow_client(void **state)
{
    struct pv_disk *d = disk_new();
    uint64_t cookies[8];
    struct client c;

    (void)state;
    memset(content, 7, SIZE);
    client_start(&c, loop, d);
    assert_int_equal(client_do(&c, PV_NBD_WRITE, 0, 0, SIZE, content), 0);
    for (size_t i = 0; i < PV_ARRAY_LEN(cookies); i++)
        cookies[i] = client_send(&c, PV_NBD_READ, 0, 0, SIZE, NULL);
    for (int i = 0; i < 50; i++)
        client_turn(&c);
    for (size_t i = 0; i < PV_ARRAY_LEN(cookies); i++) {
        assert_int_equal(client_reply(&c, cookies[i], got, SIZE), 0);
        assert_memory_equal(got, content, SIZE);
    }
    client_end(&c);
    pv_disk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_and_holes),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_slow_client),
    };
    int r;

    loop = pv_loop_new(NULL);
    r = cmocka_run_group_tests(tests, NULL, NULL);
    pv_loop_free(loop);
    return r;
}

/* SPDX-License-Identifier: MIT */
/* STAT, LIST and parts of files against agents that lie. */
#include "util/test.h"

#include <errno.h>
#include <string.h>

#include "guest/fake-agent.h"
#include "guest/file-op.h"
#include "util/clock.h"

#define LIMIT (10 * PV_NSEC_PER_SEC)

static unsigned variant;

static void assert_protocol(const struct pv_err *err, const char *text)
{
    if (err->cls != PV_E_PROTOCOL || !strstr(err->text, text))
        fail_msg("expected class protocol with '%s', got class %s: %s", text, pv_err_class_name(err->cls),
                 err->text);
}

/* ---- STAT ---- */

/* Variant 0 is valid; the others have one field each that no file can have, or a wrong length. */
enum { STAT_VARIANTS = 9 };

static void stat_agent(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_STAT);
    e = fake_begin(PV_MSG_FILE_STAT, r.id);
    pv_enc_u32(&e, variant == 1 ? 0 : variant == 2 ? 8 : PV_TYPE_SOCKET);
    pv_enc_u32(&e, variant == 3 ? 010644 : 07777);
    pv_enc_u32(&e, UINT32_MAX);
    pv_enc_u32(&e, 5);
    pv_enc_u64(&e, variant == 4 ? UINT64_C(1) << 63 : INT64_MAX);
    for (int i = 0; i < 4; i++)
        pv_enc_u64(&e, UINT64_MAX);
    for (unsigned i = 0; i < 3; i++) {
        pv_enc_u64(&e, (uint64_t)-1);
        pv_enc_u32(&e, variant == 5 + i ? 1000000000 : 999999999);
    }
    if (variant == 8)
        pv_enc_u32(&e, 0);
    fake_send(fd, &e);
    fake_serve_pings(fd);
}

static void stat_is_checked(void **state)
{
    static const fake_script scripts[] = {stat_agent};

    (void)state;
    for (variant = 0; variant < STAT_VARIANTS; variant++) {
        struct pv_guest *g = fake_new(scripts, 1);
        struct pv_err err = PV_ERR_INIT;
        struct pv_file_stat st;
        int rc = pv_agent_stat(pv_guest_agent(g), "/x", true, LIMIT, &st, &err);

        if (variant == 0) {
            assert_int_equal(rc, 1);
            assert_true(st.type == PV_TYPE_SOCKET && st.mode == 07777 && st.uid == UINT32_MAX && st.gid == 5);
            assert_true(st.size == INT64_MAX && st.rdev == UINT64_MAX && st.mtime.sec == -1);
        } else {
            assert_int_equal(rc, -1);
            assert_protocol(&err, "malformed FILE_STAT");
        }
        fake_free(g);
    }
}

static void stat_error_agent(int fd)
{
    static const uint32_t numbers[] = {ENOENT, ENOTDIR, EACCES};

    for (size_t i = 0; i < 3; i++) {
        struct fake_req r;

        fake_expect(fd, &r, PV_MSG_STAT);
        fake_error(fd, r.id, numbers[i], "stat '/x'");
    }
    fake_serve_pings(fd);
}

static void stat_of_nothing(void **state)
{
    static const fake_script scripts[] = {stat_error_agent};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    struct pv_file_stat st;

    (void)state;
    assert_int_equal(pv_agent_stat(pv_guest_agent(g), "/x", true, LIMIT, &st, &err), 0);
    assert_int_equal(pv_agent_stat(pv_guest_agent(g), "/x", true, LIMIT, &st, &err), 0);
    assert_int_equal(pv_agent_stat(pv_guest_agent(g), "/x", true, LIMIT, &st, &err), -1);
    assert_int_equal(err.cls, PV_E_GUEST);
    assert_int_equal(err.errnum, EACCES);
    assert_non_null(strstr(err.text, "stat '/x'"));
    fake_free(g);
}

/* ---- LIST ---- */

static const struct list_case {
    const char *bytes;
    size_t n;
    uint64_t said;
    const char *want; /* NULL: valid */
} lists[] = {
    {"b\0a\0\xff\0", 6, 3, NULL},      {"", 0, 0, NULL},
    {"a\0b", 3, 2, "malformed list"},  {"\0", 1, 1, "malformed list"},
    {"a/b\0", 4, 1, "malformed list"}, {"..\0", 3, 1, "malformed list"},
    {".\0", 2, 1, "malformed list"},   {"a\0b\0", 4, 3, "says 3 names and sent 2"},
};

static void list_agent(int fd)
{
    const struct list_case *l = &lists[variant];
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_LIST);
    e = fake_begin(PV_MSG_DATA, r.id);
    pv_enc_bytes(&e, l->bytes, l->n);
    fake_send(fd, &e);
    fake_ok(fd, r.id, l->said);
    fake_serve_pings(fd);
}

static void list_is_checked(void **state)
{
    static const fake_script scripts[] = {list_agent};

    (void)state;
    for (variant = 0; variant < PV_ARRAY_LEN(lists); variant++) {
        struct pv_guest *g = fake_new(scripts, 1);
        struct pv_err err = PV_ERR_INIT;
        struct pv_file_names names;
        int rc = pv_agent_list(pv_guest_agent(g), "/x", LIMIT, &names, &err);

        assert_int_equal(rc, lists[variant].want ? -1 : 0);
        if (lists[variant].want)
            assert_protocol(&err, lists[variant].want);
        else
            assert_int_equal(names.n, lists[variant].said);
        if (rc == 0 && names.n)
            assert_true(!strcmp(names.v[0], "a") && !strcmp(names.v[1], "b") && !strcmp(names.v[2], "\xff"));
        pv_file_names_fini(&names);
        fake_free(g);
    }
}

/* Names without end. */
static void flooding_agent(int fd)
{
    static char names[PV_CHUNK];
    struct fake_req r;

    memset(names, 'x', sizeof(names));
    for (size_t i = 1; i < sizeof(names); i += 2)
        names[i] = '\0';
    fake_expect(fd, &r, PV_MSG_LIST);
    for (;;) {
        struct pv_enc e = fake_begin(PV_MSG_DATA, r.id);

        pv_enc_bytes(&e, names, sizeof(names));
        fake_send(fd, &e);
    }
}

static void list_is_bounded(void **state)
{
    static const fake_script scripts[] = {flooding_agent};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    struct pv_file_names names;

    (void)state;
    assert_int_equal(pv_agent_list(pv_guest_agent(g), "/x", 0, &names, &err), -1);
    assert_int_equal(err.cls, PV_E_GUEST);
    assert_non_null(strstr(err.text, "list '/x': the directory has more than 4194304 names"));
    pv_file_names_fini(&names);
    fake_free(g);
}

/* ---- parts of files ---- */

static void generous_agent(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_READ_FILE);
    e = fake_begin(PV_MSG_DATA, r.id);
    pv_enc_bytes(&e, "12345", 5);
    fake_send(fd, &e);
    fake_ok(fd, r.id, 5);
    fake_serve_pings(fd);
}

static int sink_nothing(void *arg, const void *data, size_t n)
{
    (void)arg;
    (void)data;
    (void)n;
    return 0;
}

static void part_is_bounded(void **state)
{
    static const fake_script scripts[] = {generous_agent};
    static const struct pv_file_part part = {.path = "/x", .offset = 7, .length = 4};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_int_equal(pv_agent_read_part_to(pv_guest_agent(g), &part, LIMIT, sink_nothing, NULL, &err), -1);
    assert_protocol(&err, "more bytes than it was asked for");
    fake_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_is_checked), cmocka_unit_test(stat_of_nothing),
        cmocka_unit_test(list_is_checked), cmocka_unit_test(list_is_bounded),
        cmocka_unit_test(part_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

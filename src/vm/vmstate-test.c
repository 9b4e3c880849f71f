/* SPDX-License-Identifier: MIT */
/* Heads and records of saved vmstates, on streams whose heads have no known format. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/test.h"
#include "vm/vmstate.h"

static const char magic[8] = {'Q', 'E', 'V', 'M', 0, 0, 0, 3};
static const char timer[] = "\4\0\0\0\0\5timer\0\0\0\0\0\0\0\2state of the timer";
static const char cpu[] = "\4\0\0\0\3\3cpu\0\0\0\0\0\0\0\1state of the CPU";

static void make_devices(struct pv_buf *b)
{
    pv_buf_add(b, magic, sizeof(magic));
    pv_buf_add(b, timer, sizeof(timer) - 1);
    pv_buf_add(b, cpu, sizeof(cpu)); /* and the end, 0 */
}

/* The runstate in a whole stream differs from that of the devices alone, so states may differ. */
static size_t make_stream(struct pv_buf *b, const char *head, size_t n)
{
    pv_buf_add(b, magic, sizeof(magic));
    pv_buf_add(b, head, n);
    n = b->len;
    pv_buf_add(b, timer, sizeof(timer) - 1);
    pv_buf_add(b, cpu, sizeof(cpu));
    b->data[b->len - 3] = '?';
    pv_buf_adds(b, "\6 a description");
    return n;
}

static void head_of_any_format(void **state)
{
    static const char head[] = "\7\0\0\0\6pc-q35 a ROM and a record that no version has yet\0\4\0\0\0\0";
    cleanup_buf struct pv_buf devices = {0}, stream = {0}, out = {0};
    size_t n;

    (void)state;
    make_devices(&devices);
    n = make_stream(&stream, head, sizeof(head));
    assert_int_equal(pv_vmstate_head(&stream, &devices), n);
    stream.len = n;
    assert_true(pv_vmstate_join(&stream, &devices, &out));
    assert_int_equal(out.len, n + devices.len - sizeof(magic) + 5);
    assert_memory_equal(out.data, stream.data, n);
    assert_memory_equal(out.data + n, devices.data + sizeof(magic), devices.len - sizeof(magic));
    assert_memory_equal(out.data + out.len - 5, "\6\0\0\0\0", 5);
}

/* A guest may write the first device's section into memory that is in the head. */
static void ambiguous_head(void **state)
{
    cleanup_buf struct pv_buf devices = {0}, stream = {0};

    (void)state;
    make_devices(&devices);
    make_stream(&stream, timer, sizeof(timer));
    assert_int_equal(pv_vmstate_head(&stream, &devices), 0);
}

static void no_head(void **state)
{
    cleanup_buf struct pv_buf devices = {0}, stream = {0}, out = {0};
    size_t n;

    (void)state;
    make_devices(&devices);
    assert_int_equal(pv_vmstate_head(&stream, &devices), 0);
    n = make_stream(&stream, "head", 4);
    stream.len = n + 10; /* cut within the first section's head */
    assert_int_equal(pv_vmstate_head(&stream, &devices), 0);
    for (size_t len = 0; len < devices.len; len++) {
        struct pv_buf cut = {.data = devices.data, .len = len};

        /* A cut stream ends in 0 by chance; it is a stream of fewer devices then. */
        if (!len || devices.data[len - 1] != '\0')
            assert_false(pv_vmstate_join(&stream, &cut, &out));
        pv_vmstate_head(&stream, &cut);
    }
    devices.data[5] ^= 1;
    assert_false(pv_vmstate_join(&stream, &devices, &out));
}

static int make_file(const char *text)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void record_at_the_end(void **state)
{
    struct pv_vmstate_record r = {.capability = "x-ignore-shared", .head = 3, .by_file_uri = 1}, got;
    struct pv_err err = {0};
    int fd = make_file("stream");

    (void)state;
    assert_int_equal(pv_vmstate_append(fd, &r, &err), 0);
    assert_int_equal(pv_vmstate_read(fd, &got, &err), 0);
    assert_string_equal(got.capability, "x-ignore-shared");
    assert_int_equal(got.head, 3);
    assert_int_equal(got.by_file_uri, 1);
    close(fd);
}

static void damaged_records(void **state)
{
    static const struct pv_vmstate_record bad[] = {
        {.capability = "x-ignore-shared", .head = 7},
        {.capability = "x-ignore-shared", .head = 0},
        {.capability = "", .head = 1},
        {.capability = "a\",\"state\":true", .head = 1},
        {.capability = "aaaaaaaaaaaaaaaaaaaaaaaa", .head = 1}, /* without its 0 */
    };
    struct pv_vmstate_record got;
    struct pv_err err = {0};
    int fd;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        fd = make_file("stream");
        assert_int_equal(pv_vmstate_append(fd, &bad[i], &err), 0);
        assert_int_equal(pv_vmstate_read(fd, &got, &err), -1);
        assert_non_null(strstr(err.text, "damaged"));
        close(fd);
    }
    fd = make_file("too short");
    assert_int_equal(pv_vmstate_read(fd, &got, &err), -1);
    close(fd);
    fd = make_file("long enough for a record at its end, but there is none of ours");
    assert_int_equal(pv_vmstate_read(fd, &got, &err), -1);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_of_any_format), cmocka_unit_test(ambiguous_head),  cmocka_unit_test(no_head),
        cmocka_unit_test(record_at_the_end),  cmocka_unit_test(damaged_records),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

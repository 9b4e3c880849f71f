/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/err.h"
#include "util/path.h"
#include "vm/qcow2.h"

static char dir[] = "/tmp/provium-qcow2-test-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return pv_rm_rf(dir);
}

static const char *in_dir(const char *name)
{
    static char path[4][300];
    static unsigned i;

    i = (i + 1) % 4;
    snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
    return path[i];
}

static void be(uint8_t *p, uint64_t v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

/* The head of an image of 1 MiB; backing and format may be NULL. */
static void image_make(uint8_t head[static 512], const char *backing, const char *format,
                       uint64_t incompatible)
{
    size_t at = 104;

    memset(head, 0, 512);
    be(head, 0x514649fb, 4);
    be(head + 4, 3, 4);
    be(head + 20, 16, 4);
    be(head + 24, 1 << 20, 8);
    be(head + 72, incompatible, 8);
    be(head + 100, 104, 4);
    if (format) {
        be(head + at, 0xe2792aca, 4);
        be(head + at + 4, strlen(format), 4);
        memcpy(head + at + 8, format, strlen(format));
        at += 8 + ((strlen(format) + 7) & ~7U);
    }
    at += 8; /* the end of the extensions */
    if (!backing)
        return;
    be(head + 8, at, 8);
    be(head + 16, strlen(backing), 4);
    memcpy(head + at, backing, strlen(backing));
}

static const char *image_write_with(const char *name, const char *backing, const char *format,
                                    unsigned incompatible)
{
    uint8_t head[512];
    const char *path = in_dir(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    image_make(head, backing, format, incompatible);
    assert_int_equal(pv_write_all(fd, head, sizeof(head)), 0);
    close(fd);
    return path;
}

static const char *image_write(const char *name, const char *backing, const char *format)
{
    return image_write_with(name, backing, format, 0);
}

static void test_parse(void **state)
{
    uint8_t head[512];
    struct pv_err err = PV_ERR_INIT;
    struct pv_qcow2 q;

    (void)state;
    image_make(head, NULL, NULL, 0);
    assert_int_equal(pv_qcow2_parse(head, sizeof(head), &q, &err), 0);
    assert_int_equal(q.size, 1 << 20);
    assert_string_equal(q.backing, "");
    assert_false(q.data_file);
    image_make(head, "base.img", "raw", 4);
    assert_int_equal(pv_qcow2_parse(head, sizeof(head), &q, &err), 0);
    assert_string_equal(q.backing, "base.img");
    assert_string_equal(q.backing_format, "raw");
    assert_true(q.data_file);
    be(head + 8, 500, 8); /* the name reaches beyond the end */
    be(head + 16, 20, 4);
    assert_int_equal(pv_qcow2_parse(head, sizeof(head), &q, &err), -1);
    assert_non_null(strstr(err.text, "bad name"));
    image_make(head, NULL, "raw", 0);
    be(head + 108, 1 << 30, 4);
    assert_int_equal(pv_qcow2_parse(head, sizeof(head), &q, &err), -1);
    assert_non_null(strstr(err.text, "extensions"));
    for (size_t n = 0; n < 112; n++) {
        image_make(head, NULL, NULL, 0);
        pv_qcow2_parse(head, n, &q, NULL);
    }
    assert_int_equal(pv_qcow2_parse("QFI\xfb", 4, &q, &err), -1);
    assert_string_equal(err.text, "is no qcow2 image");
}

static void count(const char *path, void *arg)
{
    (void)path;
    ++*(unsigned *)arg;
}

static void assert_refused(const char *path, bool backing, const char *text)
{
    struct pv_err err = PV_ERR_INIT;

    assert_int_equal(pv_disk_chain(path, "qcow2", backing, NULL, NULL, &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    if (!strstr(err.text, text))
        fail_msg("expected '%s' in: %s", text, err.text);
}

static void test_chain(void **state)
{
    const char *base = image_write("base", NULL, NULL), *mid = image_write("mid", "base", "qcow2"),
               *top = image_write("top", in_dir("mid"), "qcow2");
    unsigned n = 0;

    (void)state;
    assert_int_equal(pv_disk_chain(base, "qcow2", false, count, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(pv_disk_chain(top, "raw", false, count, &n, NULL), 0); /* its bytes are the guest's */
    assert_int_equal(n, 2);
    assert_refused(mid, false, "backing = true");
    assert_int_equal(pv_disk_chain(in_dir("top"), "qcow2", true, count, &n, NULL), 0);
    assert_int_equal(n, 5);
    assert_refused(image_write_with("a", NULL, NULL, 4), false, "in a data file of its own choice");
    assert_refused(image_write_with("a", NULL, NULL, 4), true, "in a data file of its own choice");
    image_write_with("b", NULL, NULL, 4); /* of a backing file, too */
    assert_refused(image_write("a", "b", "qcow2"), true, "in a data file of its own choice");
    assert_refused(image_write("a", "base", NULL), true, "does not say the format");
    assert_refused(image_write("a", "nbd:localhost:1", "raw"), true, "expected the path of a file");
    assert_refused(image_write("a", "json:{}", "raw"), true, "expected the path of a file");
    assert_refused(image_write("a", "base", "vmdk"), true, "unsupported format");
    assert_refused(image_write("a", "a", "qcow2"), true, "more than 32 images");
    assert_refused(image_write("a", "none", "qcow2"), true, "none' cannot be read: No such file");
    assert_int_equal(pv_disk_chain(image_write("a", "base", "raw"), "qcow2", true, NULL, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_chain)};

    return cmocka_run_group_tests(tests, setup, teardown);
}

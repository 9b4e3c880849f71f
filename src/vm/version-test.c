/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/path.h"
#include "vm/version.h"

static void test_garbles_flags(void **state)
{
    (void)state;
    assert_true(pv_qemu_garbles_flags("7.2.22"));
    assert_true(pv_qemu_garbles_flags(NULL));
    assert_false(pv_qemu_garbles_flags("8.0.0"));
    assert_false(pv_qemu_garbles_flags("10.0.2"));
}

/* A program that prints the help of a memory-backend-file, and counts how often it was asked. */
static void write_qemu(const char *path, const char *help)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

    assert_true(fd >= 0);
    assert_true(
        dprintf(fd,
                "#!/bin/sh\necho >>asked\n[ \"$1 $2\" = '-object memory-backend-file,help' ] || exit 1\n"
                "printf 'memory-backend-file options:\\n  align=<int>\\n%s'\n",
                help) > 0);
    close(fd);
}

static off_t times_asked(void)
{
    struct stat st;

    return stat("asked", &st) == 0 ? st.st_size : 0;
}

static void test_maps_read_only(void **state)
{
    char dir[] = "/tmp/pv-version-test-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    setenv("XDG_CACHE_HOME", dir, 1);
    write_qemu("./old", "  readonly=<bool>\\n");
    write_qemu("./new", "  rom=<OnOffAuto>        - Whether to create Read Only Memory (ROM)\\n");
    write_qemu("./odd", "  prom=<bool>\\n");
    assert_false(pv_qemu_maps_read_only("./old"));
    assert_true(pv_qemu_maps_read_only("./new"));
    assert_true(pv_qemu_maps_read_only("./new"));
    assert_int_equal(times_asked(), 2);
    assert_false(pv_qemu_maps_read_only("./odd"));
    assert_false(pv_qemu_maps_read_only("./not-there"));
    assert_true(pv_qemu_maps_read_only("./new")); /* the file has the last one */
    assert_int_equal(times_asked(), 4);
    pv_qemu_maps_read_only("./not-there");
    assert_true(pv_qemu_maps_read_only("./new")); /* by the file */
    assert_int_equal(times_asked(), 4);
    write_qemu("./new", "  another=<bool>\\n");
    pv_qemu_maps_read_only("./not-there");
    assert_false(pv_qemu_maps_read_only("./new")); /* the program has changed */
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(pv_rm_rf(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_garbles_flags),
                                       cmocka_unit_test(test_maps_read_only)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pvsave/pvsave.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

static const char machine[] = "{\"memory\":8388608}";

static struct pv_pvsave_failure some_failure(void)
{
    struct pv_pvsave_failure f = {
        .version = "1", .file = "t/a.lua", .message = "expected \xff 1", .time = "now"};

    f.host = (struct pv_pvsave_host){.kernel = "6.1", .qemu = "7.2.1", .cpu = "cpu", .flags = "fpu sse"};
    return f;
}

/* A directory of the test; the caller removes it. */
static char *dir_make(void)
{
    char *dir = pv_xstrdup("/tmp/pvsave-test-XXXXXX");

    assert_non_null(mkdtemp(dir));
    return dir;
}

/* 8 MiB with a page at 1 MiB, and a last byte. */
static int memory_make(void)
{
    int fd = memfd_create("memory", MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, 8 << 20), 0);
    assert_int_equal(pv_pwrite_all(fd, "page", 4, 1 << 20), 0);
    assert_int_equal(pv_pwrite_all(fd, "!", 1, (8 << 20) - 1), 0);
    return fd;
}

/* Writes vm1, saved, and vm2, which is not; the path, which the caller frees. */
static char *file_make(const char *dir, uint64_t max, struct pv_err *err)
{
    struct pv_pvsave_writer *w = pv_pvsave_begin(dir, "a", max, pv_deadline(60 * PV_NSEC_PER_SEC), err);
    struct pv_pvsave_failure failure = some_failure();
    struct pv_pvsave_vm vm1 = {
        .name = "vm1", .state = "running", .profile = "default", .json = (char *)machine, .cpu = "max"};
    struct pv_pvsave_vm vm2 = {.name = "vm2", .state = "dead", .profile = "default", .reason = "it is dead"};
    cleanup_free char *f = pv_pvsave_failure_encode(&failure), *v1 = pv_pvsave_vm_encode(&vm1),
                      *v2 = pv_pvsave_vm_encode(&vm2);
    cleanup_close int memory = memory_make(), state = memfd_create("state", MFD_CLOEXEC);
    char *path = NULL;

    assert_non_null(w);
    assert_int_equal(write(state, "vmstate", 7), 7);
    if (pv_pvsave_add_text(w, "failure.json", f, strlen(f), err) == 0 &&
        pv_pvsave_add_text(w, "1/machine.json", v1, strlen(v1), err) == 0 &&
        pv_pvsave_add_text(w, "1/console", "hello\n", 6, err) == 0 &&
        pv_pvsave_add_file(w, "1/state/memory", memory, err) == 0 &&
        pv_pvsave_add_file(w, "1/state/state", state, err) == 0 &&
        pv_pvsave_add_text(w, "2/machine.json", v2, strlen(v2), err) == 0)
        path = pv_pvsave_commit(w, err);
    pv_pvsave_writer_free(w);
    return path;
}

static int file_read(const char *path, const char *vm, struct pv_pvsave *s, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    *err = (struct pv_err)PV_ERR_INIT;
    return pv_pvsave_read(fd, vm, s, err);
}

static void test_round_trip(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *dir = dir_make(), *path = file_make(dir, 1 << 20, &err);
    char got[8] = "";
    struct pv_pvsave s;
    struct stat st;

    (void)state;
    assert_non_null(path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(st.st_size < 64 << 10);
    assert_int_equal(file_read(path, "", &s, &err), 0);
    assert_string_equal(s.failure.message, "expected ? 1");
    assert_string_equal(s.failure.host.flags, "fpu sse");
    assert_int_equal(s.n_vms, 2);
    assert_string_equal(s.vms[0].json, machine);
    assert_string_equal(s.vms[0].cpu, "max");
    assert_null(s.vms[0].machine);
    assert_string_equal(s.vms[0].console.data, "hello\n");
    assert_string_equal(s.vms[1].reason, "it is dead");
    assert_int_equal(s.vms[0].n_files, 2);
    assert_int_equal(s.vms[0].files[0].size, 8 << 20);
    assert_int_equal(pv_pread_all(s.vms[0].files[0].fd, got, 4, 1 << 20), 4);
    assert_string_equal(got, "page");
    assert_int_equal(pv_pread_all(s.vms[0].files[0].fd, got, 1, (8 << 20) - 1), 1);
    assert_int_equal(got[0], '!');
    assert_int_equal(fstat(s.vms[0].files[0].fd, &st), 0);
    assert_true(st.st_blocks * 512 < 1 << 20); /* holes stay */
    assert_int_equal(pv_pread_all(s.vms[0].files[1].fd, got, 7, 0), 7);
    assert_memory_equal(got, "vmstate", 7); /* a file without holes, whose only range is the whole */
    pv_pvsave_fini(&s);
    assert_int_equal(file_read(path, NULL, &s, &err), 0);
    assert_int_equal(s.vms[0].files[0].fd, -1);
    pv_pvsave_fini(&s);
    assert_int_equal(file_read(path, "vm3", &s, &err), -1);
    assert_non_null(strstr(err.text, "vm1, vm2"));
    pv_pvsave_fini(&s);
    pv_rm_rf(dir);
}

/* Neither a file nor a leftover. */
static void test_bounds(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *dir = dir_make(), *path = file_make(dir, 100, &err);

    (void)state;
    assert_null(path);
    assert_int_equal(err.cls, PV_E_HOST);
    assert_int_equal(rmdir(dir), 0);
}

static void test_truncated(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *dir = dir_make(), *path = file_make(dir, 1 << 20, &err);
    struct pv_pvsave s;
    struct stat st;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    for (off_t n = st.st_size - 1; n >= 0; n -= 1 + st.st_size / 50) {
        assert_int_equal(truncate(path, n), 0);
        assert_int_equal(file_read(path, "", &s, &err), -1);
        assert_int_equal(err.cls, PV_E_USAGE);
        pv_pvsave_fini(&s);
    }
    pv_rm_rf(dir);
}

/* An archive of failure.json, the VM, and one hostile entry. */
static int hostile_make(const char *name, int64_t size, unsigned type)
{
    struct pv_pvsave_failure failure = some_failure();
    struct pv_pvsave_vm vm = {.name = "vm1", .state = "running", .profile = "p", .json = (char *)machine};
    cleanup_free char *f = pv_pvsave_failure_encode(&failure), *v = pv_pvsave_vm_encode(&vm);
    const char *names[] = {"failure.json", "1/machine.json", name}, *texts[] = {f, v, "x"};
    struct archive *a = archive_write_new();
    int fd = memfd_create("hostile", MFD_CLOEXEC);

    archive_write_set_format_pax(a);
    assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++) {
        struct archive_entry *e = archive_entry_new();

        archive_entry_set_pathname(e, names[i]);
        archive_entry_set_filetype(e, i == 2 ? type : AE_IFREG);
        archive_entry_set_size(e, i == 2 ? size : (int64_t)strlen(texts[i]));
        if (i == 2 && type == AE_IFLNK)
            archive_entry_set_symlink(e, "/etc/passwd");
        if (size > 1 && i == 2)
            archive_entry_sparse_add_entry(e, 0, 1);
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        archive_write_data(a, texts[i], strlen(texts[i]));
        archive_entry_free(e);
    }
    archive_write_free(a);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void test_hostile(void **state)
{
    static const struct {
        const char *name;
        int64_t size;
        unsigned type;
    } rows[] = {
        {"../../tmp/x", 1, AE_IFREG},         {"/etc/x", 1, AE_IFREG},
        {"1/state/../../x", 1, AE_IFREG},     {"1/state/memory", 1, AE_IFLNK},
        {"1/state/memory", 1, AE_IFDIR},      {"1/state/memory", INT64_C(1) << 41, AE_IFREG},
        {"2/state/memory", 1, AE_IFREG},      {"3/machine.json", 1, AE_IFREG},
        {"1/machine.json", 1, AE_IFREG},      {"1/state/disk0.0x", 1, AE_IFREG},
        {"1/state/disk99999.0", 1, AE_IFREG}, {"1/state/disk0.imagex", 1, AE_IFREG},
        {"1/state/disk.image", 1, AE_IFREG},  {"failure.json", 1, AE_IFREG},
        {"2/machine.json", 1, AE_IFREG},      {"1/console", INT64_C(1) << 30, AE_IFREG},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++) {
        cleanup_close int fd = hostile_make(rows[i].name, rows[i].size, rows[i].type);
        struct pv_err err = PV_ERR_INIT;
        struct pv_pvsave s;

        assert_int_equal(pv_pvsave_read(fd, "", &s, &err), -1);
        assert_int_equal(err.cls, PV_E_USAGE);
        pv_pvsave_fini(&s);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

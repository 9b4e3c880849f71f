/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "image/image.h"
#include "image/kprune.h"
#include "image/test-kernel-files.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"
#include "util/spawn.h"

enum { ELF_SIZE = TEST_ELF_SIZE };

static char dir[] = "/tmp/pv-kernel-test-XXXXXX";

static char *in_dir(const char *name)
{
    return pv_path_join(dir, name);
}

static void read_all(const char *path, struct pv_buf *b)
{
    struct pv_err err = PV_ERR_INIT;

    assert_int_equal(pv_read_file(path, 1u << 30, b, &err), 0);
}

static void expect_content(const char *path, const struct pv_buf *want)
{
    cleanup_buf struct pv_buf b = {0};

    read_all(path, &b);
    assert_int_equal(b.len, want->len);
    assert_memory_equal(b.data, want->data, want->len);
}

static void empty_cache(void)
{
    cleanup_free char *cache = in_dir("cache");

    pv_rm_rf(cache);
    assert_int_equal(setenv("XDG_CACHE_HOME", cache, 1), 0);
}

/* The number of names in the kernel cache that contain `part`. */
static int count_cached(const char *part)
{
    cleanup_free char *path = in_dir("cache/provium/kernels");
    DIR *d = opendir(path);
    struct dirent *de;
    int n = 0;

    while (d && (de = readdir(d)) != NULL)
        n += strstr(de->d_name, part) != NULL;
    if (d)
        closedir(d);
    return n;
}

static void open_ok(const char *path, bool unpack, struct pv_kernel *k)
{
    struct pv_err err = PV_ERR_INIT;

    if (pv_kernel_open(path, unpack, k, &err) < 0)
        fail_msg("%s: %s", path, err.text);
}

/* Writes a bzImage with this compression; elf gets its payload, unpacked.  The caller frees the path. */
static char *make_kernel(enum pv_comp c, unsigned seed, bool pvh, struct pv_buf *elf)
{
    char *path = in_dir("vmlinuz");

    test_make_kernel(path, c, seed, pvh, elf);
    return path;
}

/* The content that was checked, whatever lies at the path by then. */
static void expect_open_content(const struct pv_kernel *k, const struct pv_buf *want)
{
    cleanup_free char *got = pv_xcalloc(1, want->len + 1), *moved = pv_xasprintf("%s.moved", k->boot_path);

    assert_int_equal(rename(k->boot_path, moved), 0);
    assert_int_equal(pv_pread_all(k->fd, got, want->len + 1, 0), (ssize_t)want->len);
    assert_memory_equal(got, want->data, want->len);
    assert_int_equal(rename(moved, k->boot_path), 0);
}

/* ---- unpacking ---- */

static void unpacks_every_compression(void **state)
{
    (void)state;
    for (enum pv_comp c = PV_COMP_NONE + 1; c < PV_COMP_COUNT; c++) {
        cleanup_buf struct pv_buf elf = {0};
        cleanup_free char *path = NULL, *first = NULL;
        struct pv_kernel k;

        empty_cache();
        path = make_kernel(c, c, true, &elf);
        open_ok(path, true, &k);
        if (!k.unpacked)
            fail_msg("%s was not unpacked", pv_comp_name(c));
        assert_string_equal(k.release, TEST_RELEASE);
        expect_content(k.boot_path, &elf);
        first = pv_xstrdup(k.boot_path);
        pv_kernel_fini(&k);
        open_ok(path, true, &k);
        assert_string_equal(k.boot_path, first);
        expect_open_content(&k, &elf);
        pv_kernel_fini(&k);
        assert_int_equal(count_cached(".vmlinux"), 1);
        assert_int_equal(count_cached(".tmp"), 0);
    }
}

static int run_shell(const char *command)
{
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
    struct pv_spawn sp = {.file = "sh", .argv = argv};
    struct pv_err err = PV_ERR_INIT;
    pid_t pid = pv_spawn(&sp, NULL, &err);
    int status = -1;

    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* With the options of the kernel's Makefile; libarchive cannot write some of them (BCJ, large windows). */
static void unpacks_what_programs_wrote(void **state)
{
    static const struct {
        enum pv_comp c;
        const char *program, *command;
    } cases[] = {
        {PV_COMP_XZ, "xz", "xz --check=crc32 --x86 --lzma2=,dict=32MiB"},
        {PV_COMP_LZMA, "xz", "xz --format=lzma -9"},
        {PV_COMP_GZIP, "gzip", "gzip -n -9"},
        {PV_COMP_BZIP2, "bzip2", "bzip2 -9"},
        {PV_COMP_ZSTD, "zstd", "zstd -q --ultra -22"},
        {PV_COMP_LZ4, "lz4", "lz4 -l -9"},
        {PV_COMP_LZO, "lzop", "lzop -9"},
    };
    int ran = 0;

    (void)state;
    empty_cache();
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        cleanup_buf struct pv_buf elf = {0}, packed = {0}, bz = {0};
        cleanup_free char *plain = in_dir("plain"), *out = in_dir("packed"), *path = in_dir("vmlinuz");
        cleanup_free char *probe = pv_xasprintf("command -v %s", cases[i].program);
        cleanup_free char *command = pv_xasprintf("%s <%s >%s", cases[i].command, plain, out);
        struct pv_kernel k;

        if (run_shell(probe) != 0) {
            print_message("skipped: no program '%s'\n", cases[i].program);
            continue;
        }
        test_make_elf(&elf, ELF_SIZE + 12345, true, (unsigned)i);
        test_write(plain, elf.data, elf.len);
        assert_int_equal(run_shell(command), 0);
        read_all(out, &packed);
        assert_int_equal(pv_magic_comp(packed.data, packed.len), cases[i].c);
        test_make_bzimage(&bz, cases[i].c, &packed, elf.len);
        test_write(path, bz.data, bz.len);
        open_ok(path, true, &k);
        if (!k.unpacked)
            fail_msg("not unpacked: %s", cases[i].command);
        expect_content(k.boot_path, &elf);
        pv_kernel_fini(&k);
        ran++;
    }
    if (!ran)
        skip();
}

static void unpacks_the_real_kernel(void **state)
{
    cleanup_free char *guest = test_guest_dir();
    cleanup_free char *path = pv_path_join(guest, "vmlinuz");
    cleanup_free char *version = pv_path_join(guest, "VERSION");
    cleanup_buf struct pv_buf want = {0};
    struct pv_kernel k, direct;

    (void)state;
    if (access(path, R_OK) < 0 || access(version, R_OK) < 0) {
        print_message("skipped: no '%s' (scripts/setup makes it; PROVIUM_GUEST_DIR says where)\n", path);
        skip();
    }
    empty_cache();
    open_ok(path, true, &k);
    assert_true(k.unpacked);
    read_all(version, &want);
    want.data[strcspn(want.data, "\n")] = '\0';
    assert_string_equal(k.release, want.data);
    /* The unpacked vmlinux is itself a kernel of that release. */
    open_ok(k.boot_path, true, &direct);
    assert_string_equal(direct.release, want.data);
    assert_string_equal(direct.boot_path, k.boot_path);
    assert_false(direct.unpacked);
    pv_kernel_fini(&direct);
    pv_kernel_fini(&k);
}

static void unpack_is_a_choice(void **state)
{
    cleanup_buf struct pv_buf elf = {0};
    cleanup_free char *path = make_kernel(PV_COMP_GZIP, 1, true, &elf);
    struct pv_kernel k;

    (void)state;
    empty_cache();
    open_ok(path, false, &k);
    assert_string_equal(k.boot_path, path);
    assert_string_equal(k.release, TEST_RELEASE);
    assert_false(k.unpacked);
    assert_int_equal(count_cached(""), 0);
    pv_kernel_fini(&k);
}

static void boots_packed_when_it_must(void **state)
{
    cleanup_buf struct pv_buf elf = {0}, elf2 = {0}, bz = {0};
    cleanup_free char *path = make_kernel(PV_COMP_XZ, 1, false, &elf);
    struct pv_kernel k;

    (void)state;
    empty_cache();
    for (int i = 0; i < 2; i++) { /* no PVH note; the second open reads that from the .ok file */
        open_ok(path, true, &k);
        assert_string_equal(k.boot_path, path);
        assert_false(k.unpacked);
        pv_kernel_fini(&k);
        assert_int_equal(count_cached(".vmlinux"), 0);
        assert_int_equal(count_cached(".ok"), 1);
        assert_int_equal(count_cached(".tmp"), 0);
    }
    free(path); /* next: a payload with damage that xz' checksum detects */
    path = make_kernel(PV_COMP_XZ, 1, true, &elf2);
    read_all(path, &bz);
    bz.data[bz.len / 2] ^= 1;
    test_write(path, bz.data, bz.len);
    open_ok(path, true, &k);
    assert_string_equal(k.boot_path, path);
    pv_kernel_fini(&k);
    assert_int_equal(count_cached(".vmlinux"), 0);
}

static void lives_without_a_cache(void **state)
{
    cleanup_buf struct pv_buf elf = {0};
    cleanup_free char *path = make_kernel(PV_COMP_GZIP, 1, true, &elf);
    struct pv_kernel k;

    (void)state;
    setenv("XDG_CACHE_HOME", "/proc/no-such-place", 1);
    open_ok(path, true, &k);
    assert_string_equal(k.boot_path, path);
    assert_false(k.unpacked);
    pv_kernel_fini(&k);
}

/* ---- a cache that is not to be trusted ---- */

/* True if the kernel boots unpacked.  It boots in either case. */
static bool is_unpacked(const char *path)
{
    struct pv_kernel k;
    bool unpacked;

    open_ok(path, true, &k);
    unpacked = k.unpacked;
    pv_kernel_fini(&k);
    return unpacked;
}

static void uses_only_its_own_directory(void **state)
{
    static const char *const dirs[] = {"cache/provium", "cache/provium/kernels"};
    cleanup_buf struct pv_buf elf = {0};
    cleanup_free char *path = make_kernel(PV_COMP_LZ4, 3, true, &elf), *moved = in_dir("moved");

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(dirs); i++) {
        cleanup_free char *d = in_dir(dirs[i]);

        empty_cache();
        assert_true(is_unpacked(path));
        assert_int_equal(chmod(d, 0770), 0);
        assert_false(is_unpacked(path));
        assert_int_equal(chmod(d, 0700), 0);
        if (geteuid() == 0) {
            assert_int_equal(chown(d, 1, 1), 0);
            assert_false(is_unpacked(path));
            assert_int_equal(chown(d, 0, 0), 0);
        }
        assert_true(is_unpacked(path));
        assert_int_equal(rename(d, moved), 0);
        assert_int_equal(symlink(moved, d), 0);
        assert_false(is_unpacked(path));
        assert_int_equal(unlink(d), 0);
        assert_int_equal(pv_rm_rf(moved), 0);
    }
}

/* A file of another user, or that others can write to, is made anew: an .ok that says "none" is not believed. */
static void believes_only_its_own_files(void **state)
{
    static const char none[] = "provium-kernel 1 none not this one\n";
    cleanup_buf struct pv_buf elf = {0};
    cleanup_free char *path = make_kernel(PV_COMP_LZ4, 3, true, &elf), *ok = NULL, *moved = in_dir("ok");
    struct pv_kernel k;

    (void)state;
    empty_cache();
    open_ok(path, true, &k);
    ok = pv_xasprintf("%.*s.ok", (int)(strlen(k.boot_path) - strlen(".vmlinux")), k.boot_path);
    pv_kernel_fini(&k);
    test_write(ok, none, strlen(none));
    assert_int_equal(chmod(ok, 0600), 0);
    assert_false(is_unpacked(path)); /* its own is believed */
    assert_int_equal(chmod(ok, 0620), 0);
    assert_true(is_unpacked(path));
    test_write(moved, none, strlen(none));
    assert_int_equal(chmod(moved, 0600), 0);
    assert_int_equal(unlink(ok), 0);
    assert_int_equal(symlink(moved, ok), 0);
    assert_true(is_unpacked(path));
    assert_int_equal(access(moved, F_OK), 0);
    if (geteuid() != 0) {
        print_message("skipped: only root can give a file to another user\n");
        return;
    }
    test_write(ok, none, strlen(none));
    assert_int_equal(chmod(ok, 0600), 0);
    assert_int_equal(chown(ok, 1, 1), 0);
    assert_true(is_unpacked(path));
}

/* ---- damage to the cache ---- */

/* Opens the kernel until its .ok file has an identity: from then on the vmlinux is not summed again. */
static void settle_cache(const char *path)
{
    int64_t deadline = pv_deadline(10 * PV_NSEC_PER_SEC);

    for (;;) {
        cleanup_free char *ok = NULL;
        cleanup_buf struct pv_buf b = {0};
        struct pv_kernel k;

        open_ok(path, true, &k);
        ok = pv_xasprintf("%.*s.ok", (int)(strlen(k.boot_path) - strlen(".vmlinux")), k.boot_path);
        pv_kernel_fini(&k);
        read_all(ok, &b);
        if (!strstr(b.data, " -\n") && count_cached(".src") == 1)
            return;
        assert_true(pv_now() < deadline);
        usleep(20000);
    }
}

static void keep_times(const char *path, const struct stat *st)
{
    struct timespec times[2] = {st->st_atim, st->st_mtim};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void flip_byte(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    char c = 0;

    assert_true(fd >= 0 && fstat(fd, &st) == 0 && pread(fd, &c, 1, at) == 1);
    c ^= 4;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
    keep_times(path, &st);
}

static void damage_truncate(const char *vmlinux)
{
    struct stat st;

    assert_int_equal(stat(vmlinux, &st), 0);
    assert_int_equal(truncate(vmlinux, ELF_SIZE - 1), 0);
    keep_times(vmlinux, &st);
}

static void damage_flip(const char *vmlinux)
{
    flip_byte(vmlinux, ELF_SIZE / 3);
}

static void damage_remove(const char *vmlinux)
{
    assert_int_equal(unlink(vmlinux), 0);
}

static void damage_link(const char *vmlinux)
{
    assert_int_equal(unlink(vmlinux), 0);
    assert_int_equal(symlink("/etc/passwd", vmlinux), 0);
}

static void damage_note(const char *vmlinux)
{
    cleanup_free char *ok = pv_xasprintf("%.*s.ok", (int)(strlen(vmlinux) - strlen(".vmlinux")), vmlinux);

    damage_flip(vmlinux);
    test_write(ok, "provium-kernel 1 vmlinux 5 zz\n", 30);
}

static void finds_damage(void **state)
{
    static void (*const damages[])(const char *) = {damage_truncate, damage_flip, damage_remove, damage_link,
                                                    damage_note};

    (void)state;
    for (size_t settled = 0; settled < 2; settled++)
        for (size_t i = 0; i < PV_ARRAY_LEN(damages); i++) {
            cleanup_buf struct pv_buf elf = {0};
            cleanup_free char *path = make_kernel(PV_COMP_LZ4, 3, true, &elf);
            struct pv_kernel k;

            empty_cache();
            open_ok(path, true, &k);
            if (settled)
                settle_cache(path);
            damages[i](k.boot_path);
            pv_kernel_fini(&k);
            open_ok(path, true, &k);
            assert_true(k.unpacked);
            expect_content(k.boot_path, &elf);
            pv_kernel_fini(&k);
        }
}

static void notices_a_changed_kernel(void **state)
{
    cleanup_buf struct pv_buf elf = {0}, bz = {0};
    cleanup_free char *path = make_kernel(PV_COMP_LZ4, 3, true, &elf), *first = NULL;
    struct pv_kernel k;

    (void)state;
    empty_cache();
    open_ok(path, true, &k);
    first = pv_xstrdup(k.boot_path);
    pv_kernel_fini(&k);
    settle_cache(path);
    /* In place, same size and mtime.  lz4 has no checksum, so the result is another valid kernel. */
    read_all(path, &bz);
    flip_byte(path, (off_t)(bz.len - 4000));
    open_ok(path, true, &k);
    assert_true(k.unpacked);
    assert_string_not_equal(k.boot_path, first);
    pv_kernel_fini(&k);
}

static void processes_share_it(void **state)
{
    cleanup_buf struct pv_buf elf = {0};
    cleanup_free char *path = make_kernel(PV_COMP_ZSTD, 5, true, &elf);
    pid_t pids[8];

    (void)state;
    for (int round = 0; round < 3; round++) {
        empty_cache();
        for (size_t i = 0; i < PV_ARRAY_LEN(pids); i++) {
            pids[i] = fork();
            assert_true(pids[i] >= 0);
            if (pids[i] == 0) {
                cleanup_buf struct pv_buf b = {0};
                struct pv_kernel k;

                _exit(!(pv_kernel_open(path, true, &k, NULL) == 0 && k.unpacked &&
                        pv_read_file(k.boot_path, 1 << 30, &b, NULL) == 0 && b.len == elf.len &&
                        !memcmp(b.data, elf.data, elf.len)));
            }
        }
        for (size_t i = 0; i < PV_ARRAY_LEN(pids); i++) {
            int status = -1;

            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_int_equal(status, 0);
        }
        assert_int_equal(count_cached(".vmlinux"), 1);
        assert_int_equal(count_cached(".tmp"), 0);
    }
}

static void a_killed_process_leaves_nothing(void **state)
{
    cleanup_buf struct pv_buf elf = {0};
    cleanup_free char *path = make_kernel(PV_COMP_BZIP2, 6, true, &elf);

    (void)state;
    for (int delay = 0; delay < 12; delay++) {
        struct pv_kernel k;
        pid_t pid;

        empty_cache();
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(pv_kernel_open(path, true, &k, NULL) < 0);
        usleep((useconds_t)delay * 4000);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(count_cached(".tmp"), 0);
        open_ok(path, true, &k);
        assert_true(k.unpacked);
        expect_content(k.boot_path, &elf);
        pv_kernel_fini(&k);
    }
}

static void the_cache_is_bounded(void **state)
{
    cleanup_free char *cache = in_dir("prune");
    cleanup_close int fd = -1;
    time_t now = time(NULL);
    int left = 0;

    (void)state;
    assert_int_equal(mkdir(cache, 0700), 0);
    fd = open(cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (int i = 0; i < 14; i++) { /* 0-3 are used now, the others long ago */
        struct timespec t = {i < 4 ? now - i : now - 100000 - i, 0}, times[2] = {t, t};
        cleanup_free char *ok = pv_xasprintf("%s/h%02d.ok", cache, i);
        cleanup_free char *vmlinux = pv_xasprintf("%s/h%02d.vmlinux", cache, i);

        test_write(ok, "x", 1);
        test_write(vmlinux, "x", 1);
        assert_int_equal(utimensat(AT_FDCWD, ok, times, 0), 0);
    }
    pv_kprune(fd, 2, 3600);
    for (int i = 0; i < 14; i++) {
        cleanup_free char *vmlinux = pv_xasprintf("%s/h%02d.vmlinux", cache, i);

        assert_int_equal(access(vmlinux, F_OK), i < 4 ? 0 : -1); /* 4 exceed `keep` but were just used */
    }
    pv_kprune(fd, 2, -10);
    for (int i = 0; i < 14; i++) {
        cleanup_free char *ok = pv_xasprintf("%s/h%02d.ok", cache, i);

        left += access(ok, F_OK) == 0;
    }
    assert_int_equal(left, 2);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unpacks_every_compression),
        cmocka_unit_test(unpacks_what_programs_wrote),
        cmocka_unit_test(unpacks_the_real_kernel),
        cmocka_unit_test(unpack_is_a_choice),
        cmocka_unit_test(boots_packed_when_it_must),
        cmocka_unit_test(lives_without_a_cache),
        cmocka_unit_test(uses_only_its_own_directory),
        cmocka_unit_test(believes_only_its_own_files),
        cmocka_unit_test(finds_damage),
        cmocka_unit_test(notices_a_changed_kernel),
        cmocka_unit_test(processes_share_it),
        cmocka_unit_test(a_killed_process_leaves_nothing),
        cmocka_unit_test(the_cache_is_bounded),
    };

    return cmocka_run_group_tests_name("image-kernel", tests, setup, teardown);
}

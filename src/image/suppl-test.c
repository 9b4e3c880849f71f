/* SPDX-License-Identifier: MIT */
/* Reads the archive back with the newc parser below, modelled on the kernel's (init/initramfs.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "image/image.h"
#include "image/newc.h"
#include "image/test-kernel-files.h"
#include "util/err.h"
#include "util/path.h"
#include "wire/proto.h"

static char dir[] = "/tmp/pv-suppl-test-XXXXXX";

/* ---- reading newc as the kernel does ---- */

struct entry {
    char *name;
    unsigned mode, uid, gid, nlink, size, rmajor, rminor;
    const char *data;
};

struct image {
    char *map;
    size_t size, start; /* start: offset of the supplementary initramfs */
    struct entry *v;
    size_t n;
};

static unsigned newc_field(const char *header, int i)
{
    char hex[9] = "";
    char *end;
    unsigned long v;

    memcpy(hex, header + 6 + 8 * i, 8);
    v = strtoul(hex, &end, 16);
    assert_ptr_equal(end, hex + 8);
    return (unsigned)v;
}

static size_t align4(size_t n)
{
    return (n + 3) & ~(size_t)3;
}

static void parse_newc(struct image *im, size_t at)
{
    for (;;) {
        const char *h = im->map + at;
        struct entry e = {0};
        size_t name_len;

        assert_true(at % 4 == 0 && at + 110 < im->size);
        assert_memory_equal(h, "070701", 6);
        name_len = newc_field(h, 11);
        assert_true(name_len > 1 && name_len <= PATH_MAX && at + 110 + name_len <= im->size);
        assert_int_equal(h[110 + name_len - 1], '\0');
        at = align4(at + 110 + name_len);
        if (!strcmp(h + 110, "TRAILER!!!")) {
            while (at < im->size && !im->map[at])
                at++;
            if (at == im->size)
                break;
            continue; /* another archive */
        }
        e.name = pv_xstrdup(h + 110);
        e.mode = newc_field(h, 1);
        e.uid = newc_field(h, 2);
        e.gid = newc_field(h, 3);
        e.nlink = newc_field(h, 4);
        e.size = newc_field(h, 6);
        e.rmajor = newc_field(h, 9);
        e.rminor = newc_field(h, 10);
        e.data = im->map + at;
        assert_true(at + e.size <= im->size);
        at = align4(at + e.size);
        assert_true(e.uid == 0 && e.gid == 0);
        assert_true(S_ISDIR(e.mode) || e.nlink == 1); /* with more the kernel looks for hard links */
        im->v = pv_xrealloc(im->v, (im->n + 1) * sizeof(im->v[0]));
        im->v[im->n++] = e;
    }
}

static void image_fini(struct image *im)
{
    for (size_t i = 0; i < im->n; i++)
        free(im->v[i].name);
    free(im->v);
    if (im->map)
        munmap(im->map, im->size);
}
#define cleanup_image __attribute__((cleanup(image_fini)))

static void build_archive(const struct pv_suppl *suppl, struct image *im)
{
    struct pv_err err = PV_ERR_INIT;
    struct stat st;
    int fd = -1;

    if (pv_suppl_build(suppl, &fd, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
    assert_int_equal(fstat(fd, &st), 0);
    im->size = (size_t)st.st_size;
    im->map = mmap(NULL, im->size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(im->map != MAP_FAILED);
    close(fd);
    im->start = 0;
    if (suppl->initrd) {
        struct stat own;

        assert_int_equal(stat(suppl->initrd, &own), 0);
        im->start = (size_t)own.st_size;
        while (!im->map[im->start])
            im->start++;
        assert_in_range(im->start - (size_t)own.st_size, 4, 7);
    }
    parse_newc(im, im->start);
}

static void expect_refused(const struct pv_suppl *suppl, const char *why)
{
    struct pv_err err = PV_ERR_INIT;
    int fd = -1;

    if (pv_suppl_build(suppl, &fd, NULL, &err) == 0)
        fail_msg("not refused; expected '%s'", why);
    assert_int_equal(fd, -1);
    if (err.cls != PV_E_USAGE || !strstr(err.text, why))
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static const struct entry *find_entry(const struct image *im, const char *name)
{
    const struct entry *found = NULL;

    for (size_t i = 0; i < im->n; i++)
        if (!strcmp(im->v[i].name, name)) {
            if (found)
                fail_msg("'%s' is there twice", name);
            found = &im->v[i];
        }
    return found;
}

static const struct entry *expect(const struct image *im, const char *name, unsigned mode)
{
    const struct entry *e = find_entry(im, name);

    if (!e)
        fail_msg("'%s' is not in the archive", name);
    if (e->mode != mode)
        fail_msg("'%s' has mode %o, not %o", name, e->mode, mode);
    return e;
}

static void expect_data(const struct image *im, const char *name, unsigned mode, const void *data, size_t n)
{
    const struct entry *e = expect(im, name, mode);

    assert_int_equal(e->size, n);
    assert_memory_equal(e->data, data, n);
}

/* Each other file, directory and link has its record in .provium/sums, in the archive's order. */
static void expect_sums(const struct image *im)
{
    const struct entry *sums = expect(im, ".provium/sums", S_IFREG | 0644);
    cleanup_buf struct pv_buf want = {0};

    for (const struct entry *e = im->v; e < im->v + im->n; e++) {
        char type = S_ISDIR(e->mode) ? 'd' : S_ISLNK(e->mode) ? 'l' : 'f';
        struct pv_wire_sum s;

        if (S_ISCHR(e->mode) || e == sums)
            continue;
        pv_wire_sum_init(&s);
        pv_wire_sum_add(&s, e->data, e->size);
        pv_buf_addf(&want, "%c%016x%016llx/%s", type, e->size, (unsigned long long)pv_wire_sum_end(&s),
                    e->name);
        pv_buf_addc(&want, '\0');
    }
    assert_int_equal(sums->size, want.len);
    assert_memory_equal(sums->data, want.data, want.len);
    assert_true(!find_entry(im, ".provium/files") || sums < find_entry(im, ".provium/files"));
}

/* In every archive a directory precedes its content, and without `alone` all lies in PV_BOOT_DIR. */
static void expect_order(const struct image *im, bool alone)
{
    for (size_t i = 0; i < im->n; i++) {
        const char *name = im->v[i].name, *slash = strrchr(name, '/');
        bool found = !slash;

        if (!alone && strcmp(name, "provium-wrapper") != 0 && strcmp(name, ".provium") != 0)
            assert_memory_equal(name, ".provium/", 9);
        for (size_t j = 0; j < i && !found; j++)
            found = S_ISDIR(im->v[j].mode) && strlen(im->v[j].name) == (size_t)(slash - name) &&
                    !strncmp(im->v[j].name, name, (size_t)(slash - name));
        if (!found)
            fail_msg("'%s' comes before its directory", name);
    }
    expect_sums(im);
}

static char *in_dir(const char *name)
{
    return pv_path_join(dir, name);
}

static char *write_file(const char *name, const void *data, size_t n, unsigned mode)
{
    char *path = in_dir(name);

    test_write(path, data, n);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

/* ---- tests ---- */

static void the_least_there_is(void **state)
{
    cleanup_image struct image im = {0};
    const struct entry *e;

    (void)state;
    build_archive(&(struct pv_suppl){0}, &im);
    expect_order(&im, true);
    assert_int_equal(im.n, 6);
    expect(&im, "dev", S_IFDIR | 0755);
    e = expect(&im, "dev/console", S_IFCHR | 0600);
    assert_true(e->rmajor == 5 && e->rminor == 1);
    expect_data(&im, "provium-wrapper", S_IFREG | 0755, pv_agent_binary,
                (size_t)(pv_agent_binary_end - pv_agent_binary));
    assert_memory_equal(pv_agent_binary, "\x7f\x45LF", 4);
    expect(&im, ".provium", S_IFDIR | 0755);
    expect_data(&im, ".provium/boot.conf", S_IFREG | 0644, "sums sums\n", 10);
}

static void follows_any_initrd(void **state)
{
    (void)state;
    for (size_t size = 100; size < 108; size++) {
        char data[128] = "\x1f\x8b\x08 anything behind the magic is the kernel's business";
        cleanup_free char *path = NULL;
        cleanup_image struct image im = {0};

        memset(data + 70, 0xee, sizeof(data) - 70);
        path = write_file("initrd", data, size, 0644);
        build_archive(&(struct pv_suppl){.initrd = path}, &im);
        assert_memory_equal(im.map, data, size);
        expect_order(&im, false);
        assert_null(find_entry(&im, "dev"));
        expect(&im, "provium-wrapper", S_IFREG | 0755);
    }
}

static void a_bad_initrd_is_refused(void **state)
{
    cleanup_free char *path = write_file("initrd", "no archive\n", 11, 0644);

    (void)state;
    expect_refused(&(struct pv_suppl){.initrd = path}, "a text file");
    expect_refused(&(struct pv_suppl){.initrd = "/does/not/exist"}, "/does/not/exist");
}

static void a_plain_archive_is_followed_too(void **state)
{
    cleanup_free char *path = in_dir("plain.cpio");
    cleanup_image struct image first = {0}, im = {0};

    (void)state;
    build_archive(&(struct pv_suppl){0}, &first);
    test_write(path, first.map, first.size);
    build_archive(&(struct pv_suppl){.initrd = path}, &im);
    assert_memory_equal(im.map, first.map, first.size);
    assert_int_equal(im.n, 4);
}

static void writes_boot_conf(void **state)
{
    static const char ko[] = "\x7f\x45LF module\0~Module signature appended~\n";
    static const char want[] =
        "module a.ko\nmodule b.ko\nmodule 2-a.ko\nfsmodule ext4 c.ko\nfsmodule xfs c.ko\n"
        "fsmodule xfs d.ko\nrootfs vda\nroot LABEL=some root\ninitfallback /bin/sh\n"
        "serial provium.agent\nsums sums\n";
    cleanup_free char *sub = in_dir("sub"), *a = write_file("a.ko", ko, sizeof(ko), 0600), *a2 = NULL;
    cleanup_free char *b = NULL, *c = NULL, *d = NULL;
    cleanup_buf struct pv_buf gz = {0}, xz = {0}, zst = {0};
    struct pv_modlist modules = {0}, fs[2] = {0};
    static const char *const types[] = {"ext4", "xfs", NULL};
    struct pv_suppl suppl = {.modules = &modules,
                             .fs_modules = fs,
                             .fs_types = types,
                             .rootfs_device = "vda",
                             .root = "LABEL=some root",
                             .init_fallback = "/bin/sh",
                             .serial = "provium.agent"};
    cleanup_image struct image im = {0};

    (void)state;
    assert_int_equal(mkdir(sub, 0755), 0);
    a2 = write_file("sub/a.ko", "\x7f\x45LF another", 12, 0644);
    test_compress(PV_COMP_GZIP, ko, sizeof(ko), &gz);
    test_compress(PV_COMP_XZ, ko, sizeof(ko), &xz);
    test_compress(PV_COMP_ZSTD, ko, sizeof(ko), &zst);
    b = write_file("b.ko.gz", gz.data, gz.len, 0644);
    c = write_file("c.ko.xz", xz.data, xz.len, 0644);
    d = write_file("d.ko.zst", zst.data, zst.len, 0644);
    pv_strv_add(&modules.paths, a);
    pv_strv_add(&modules.paths, b);
    pv_strv_add(&modules.paths, a2);
    pv_strv_add(&fs[0].paths, a); /* is in `modules` too: no fsmodule line */
    pv_strv_add(&fs[0].paths, c);
    pv_strv_add(&fs[1].paths, c);
    pv_strv_add(&fs[1].paths, d);
    build_archive(&suppl, &im);
    expect_order(&im, true);
    expect_data(&im, ".provium/boot.conf", S_IFREG | 0644, want, strlen(want));
    for (int i = 0; i < 4; i++) {
        cleanup_free char *name = pv_xasprintf(".provium/modules/%c.ko", "abcd"[i]);

        expect_data(&im, name, S_IFREG | 0644, ko, sizeof(ko));
    }
    expect_data(&im, ".provium/modules/2-a.ko", S_IFREG | 0644, "\x7f\x45LF another", 12);
    suppl.root = "two\nlines";
    expect_refused(&suppl, "one line");
    pv_modlist_fini(&modules);
    pv_modlist_fini(&fs[0]);
    pv_modlist_fini(&fs[1]);
}

static void refuses_bad_modules(void **state)
{
    cleanup_buf struct pv_buf xz = {0};
    struct pv_modlist l = {0};
    struct pv_suppl suppl = {.modules = &l};
    char zeros[4000] = "\x7f\x45LF";
    cleanup_free char *path = NULL, *text = write_file("text.ko", "hello\n", 6, 0644);

    (void)state;
    test_compress(PV_COMP_XZ, zeros, sizeof(zeros), &xz);
    path = write_file("cut.ko.xz", xz.data, xz.len / 2, 0644);
    pv_strv_add(&l.paths, path);
    expect_refused(&suppl, path);
    pv_modlist_fini(&l);
    pv_strv_add(&l.paths, text);
    expect_refused(&suppl, "a text file, no kernel module");
    pv_modlist_fini(&l);
    pv_strv_add(&l.paths, "/no/such/module.ko");
    expect_refused(&suppl, "/no/such/module.ko");
    pv_modlist_fini(&l);
}

static void injects_files(void **state)
{
    cleanup_free char *a = write_file("tool", "#!/bin/sh\n", 10, 04755),
                      *b = write_file("secret", "s", 1, 0600);
    cleanup_free char *e = write_file("empty", "", 0, 0444), *link = in_dir("link");
    const struct pv_suppl_file files[] = {
        {"/usr/bin/tool", a},      {"/etc/a b\nc/sec\xff\xc3\xa9ret", b}, {"//etc/./x//empty", e},
        {"/usr/bin/linked", link}, {"/version", "/proc/version"},
    };
    cleanup_buf struct pv_buf version = {0};
    cleanup_image struct image im = {0};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_int_equal(symlink("tool", link), 0);
    build_archive(&(struct pv_suppl){.files = files, .n_files = PV_ARRAY_LEN(files)}, &im);
    expect_order(&im, true);
    expect(&im, ".provium/files/usr/bin", S_IFDIR | 0755);
    expect_data(&im, ".provium/files/usr/bin/tool", S_IFREG | 04755, "#!/bin/sh\n", 10);
    expect_data(&im, ".provium/files/usr/bin/linked", S_IFREG | 04755, "#!/bin/sh\n", 10);
    expect_data(&im, ".provium/files/etc/a b\nc/sec\xff\xc3\xa9ret", S_IFREG | 0600, "s", 1);
    expect_data(&im, ".provium/files/etc/x/empty", S_IFREG | 0444, "", 0);
    assert_int_equal(pv_read_file("/proc/version", 4096, &version, &err), 0);
    expect_data(&im, ".provium/files/version", S_IFREG | 0444, version.data, version.len);
}

static void make_tree(char *long_name)
{
    cleanup_free char *t = in_dir("tree"), *s = in_dir("tree/sub"), *d = in_dir("tree/sub/deep");
    cleanup_free char *e = in_dir("tree/empty dir"), *l = in_dir("tree/sub/link"),
                      *dangling = in_dir("tree/dangling");
    cleanup_free char *path = NULL;

    memset(long_name, 'n', NAME_MAX);
    long_name[NAME_MAX] = '\0';
    assert_true(!mkdir(t, 0755) && !mkdir(s, 0755) && !mkdir(d, 0755) && !mkdir(e, 0755));
    assert_true(!symlink("../f", l) && !symlink("/no where", dangling));
    free(write_file("tree/f", "1", 1, 0640));
    free(write_file("tree/sub/deep/g", "22", 2, 0755));
    path = pv_xasprintf("tree/%s", long_name);
    free(write_file(path, "333", 3, 0644));
    assert_true(!chmod(e, 01777) && !chmod(t, 0750));
}

static void injects_directories(void **state)
{
    char long_name[NAME_MAX + 1];
    cleanup_free char *t = in_dir("tree"), *long_path = NULL, *own = write_file("own", "explicit", 8, 0600);
    const struct pv_suppl_file files[] = {{"/opt/t/sub/deep/h", own}, {"/opt/t/", t}, {"/opt/t/f", own}};
    const struct pv_suppl_file root[] = {{"/", t}};
    cleanup_image struct image im = {0}, im2 = {0};

    (void)state;
    make_tree(long_name);
    long_path = pv_xasprintf(".provium/files/opt/t/%s", long_name);
    build_archive(&(struct pv_suppl){.files = files, .n_files = PV_ARRAY_LEN(files)}, &im);
    expect_order(&im, true);
    expect(&im, ".provium/files/opt", S_IFDIR | 0755);
    expect(&im, ".provium/files/opt/t", S_IFDIR | 0750);
    expect(&im, ".provium/files/opt/t/empty dir", S_IFDIR | 01777);
    expect_data(&im, ".provium/files/opt/t/sub/link", S_IFLNK | 0777, "../f", 4);
    expect_data(&im, ".provium/files/opt/t/dangling", S_IFLNK | 0777, "/no where", 9);
    expect_data(&im, ".provium/files/opt/t/sub/deep/g", S_IFREG | 0755, "22", 2);
    expect_data(&im, ".provium/files/opt/t/sub/deep/h", S_IFREG | 0600, "explicit", 8);
    expect_data(&im, ".provium/files/opt/t/f", S_IFREG | 0600, "explicit", 8); /* the explicit path wins */
    expect_data(&im, long_path, S_IFREG | 0644, "333", 3);
    build_archive(&(struct pv_suppl){.files = root, .n_files = 1}, &im2);
    expect_order(&im2, true);
    expect_data(&im2, ".provium/files/f", S_IFREG | 0640, "1", 1);
    expect(&im2, ".provium/files", S_IFDIR | 0755); /* the guest's root does not get the tree's mode */
}

static void refuse_injection(const char *guest, const char *host, const char *why)
{
    const struct pv_suppl_file f = {guest, host};

    expect_refused(&(struct pv_suppl){.files = &f, .n_files = 1}, why);
}

static void refuse_injections(const char *guest, const char *host, const char *guest2, const char *host2,
                              const char *why)
{
    const struct pv_suppl_file f[] = {{guest, host}, {guest2, host2}}, g[] = {f[1], f[0]};

    expect_refused(&(struct pv_suppl){.files = f, .n_files = 2}, why);
    expect_refused(&(struct pv_suppl){.files = g, .n_files = 2}, why);
}

static void refuses_bad_injections(void **state)
{
    cleanup_free char *a = write_file("plain", "x", 1, 0644), *missing = in_dir("missing"),
                      *odd = in_dir("odd");
    cleanup_free char *fifo = in_dir("odd/fifo"), *sock = in_dir("odd/sock"), *sub = in_dir("odd2");
    cleanup_free char *x = NULL, *big = in_dir("big"), *link = in_dir("odd2/link");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char long_name[NAME_MAX + 3], long_path[PATH_MAX + 10];
    int s;

    (void)state;
    assert_true(!mkdir(odd, 0755) && !mkdir(sub, 0755) && !mkfifo(fifo, 0600));
    refuse_injection("etc/x", a, "not absolute");
    refuse_injection("", a, "not absolute");
    refuse_injection("/etc/../x", a, "'..'");
    refuse_injection("/..", a, "'..'");
    refuse_injection("/x", missing, missing);
    refuse_injection("/x/", a, "names a directory");
    refuse_injection("/", a, "names a directory");
    refuse_injection("/.provium/boot.conf", a, "Provium's own");
    refuse_injection("/x", "/dev/null", "neither a file nor a directory");
    refuse_injection("/x", fifo, "neither a file nor a directory");
    refuse_injection("/x", odd, "odd/fifo' is a fifo");
    assert_int_equal(unlink(fifo), 0);
    s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", sock);
    assert_int_equal(bind(s, (struct sockaddr *)&un, sizeof(un)), 0);
    close(s);
    refuse_injection("/x", odd, "odd/sock' is a socket");
    refuse_injections("/x", a, "/x/", sub, "given twice");
    refuse_injections("/x", a, "/x/y/z", a, "which is a file");
    x = write_file("odd2/y", "", 0, 0644);
    assert_int_equal(symlink("/etc", link), 0);
    refuse_injections("/x", sub, "/x/y/z", a, "no directory");
    refuse_injections("/x", sub, "/x/link/z", a, "no directory");
    memset(long_name, 'n', sizeof(long_name));
    long_name[0] = '/';
    long_name[NAME_MAX + 2] = '\0';
    refuse_injection(long_name, a, "more than 255 bytes");
    for (size_t i = 0; i < sizeof(long_path); i++)
        long_path[i] = i % 2 ? 'x' : '/';
    long_path[PATH_MAX - 2] = '\0';
    refuse_injection(long_path, a, "longer than 4095 bytes");
    test_write(big, "", 0);
    assert_int_equal(truncate(big, 1LL << 32), 0);
    refuse_injection("/big", big, "below 4 GiB");
}

/* Reading ends before st_size, because the descriptor does not start at offset 0. */
static void notices_a_file_that_shrinks(void **state)
{
    cleanup_free char *path = write_file("shrinks", "0123456789", 10, 0644);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC), out = memfd_create("test", MFD_CLOEXEC);
    cleanup_newc struct pv_newc w = {0};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
    pv_newc_init(&w, out);
    assert_int_equal(pv_newc_fd(&w, "/x", 0644, fd, path, &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "became shorter"));
}

static void streams_large_files(void **state)
{
    enum { SIZE = 96 << 20 };
    cleanup_free char *path = in_dir("large");
    const struct pv_suppl_file files[] = {{"/large", path}};
    struct pv_err err = PV_ERR_INIT;
    struct rusage before, after;
    struct stat st;
    char end[4096];
    int fd = -1;

    (void)state;
    test_write(path, "", 0);
    assert_int_equal(truncate(path, SIZE - 4), 0);
    fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "tail", 4), 4);
    close(fd);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(
        pv_suppl_build(&(struct pv_suppl){.initrd = NULL, .files = files, .n_files = 1}, &fd, NULL, &err), 0);
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 16 << 10); /* KiB: the file is streamed */
    assert_int_equal(fstat(fd, &st), 0);
    assert_in_range(st.st_size, SIZE, SIZE + (16 << 20));
    assert_int_equal(pread(fd, end, sizeof(end), st.st_size - (off_t)sizeof(end)), sizeof(end));
    assert_non_null(memmem(end, sizeof(end), "tail", 4));
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    umask(022);
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
        cmocka_unit_test(the_least_there_is),      cmocka_unit_test(follows_any_initrd),
        cmocka_unit_test(a_bad_initrd_is_refused), cmocka_unit_test(a_plain_archive_is_followed_too),
        cmocka_unit_test(writes_boot_conf),        cmocka_unit_test(refuses_bad_modules),
        cmocka_unit_test(streams_large_files),     cmocka_unit_test(notices_a_file_that_shrinks),
        cmocka_unit_test(injects_files),           cmocka_unit_test(injects_directories),
        cmocka_unit_test(refuses_bad_injections),
    };

    return cmocka_run_group_tests_name("image-suppl", tests, setup, teardown);
}

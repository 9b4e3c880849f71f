/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/guestdir.h"
#include "config/config_toml.h"
#include "config/diskformat.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

/* A project in a temporary directory: two kernels, images, a default guest. */
static char dir[] = "/tmp/provium-config-test-XXXXXX";

static char *in_dir(const char *name)
{
    return pv_path_join(dir, name);
}

static void put_file(const char *name, const void *data, size_t n)
{
    cleanup_free char *path = in_dir(name);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(pv_write_all(fd, data, n), 0);
}

static void puts_file(const char *name, const char *text)
{
    put_file(name, text, strlen(text));
}

static int setup(void **state)
{
    static const char *const dirs[] = {"guest", "guest/modules", "sub", "sub/deep", "tree"};
    static char cd[33 * 1024];

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    for (size_t i = 0; i < PV_ARRAY_LEN(dirs); i++) {
        cleanup_free char *path = in_dir(dirs[i]);

        if (mkdir(path, 0755) < 0)
            return -1;
    }
    puts_file("bzImage", "kernel");
    puts_file("initrd.img", "archive");
    puts_file("disk.img", "raw\1bytes");
    puts_file("text.img", "KEY=value\n\xc3\xa9\n");
    put_file("zeros.img", cd, sizeof(cd));
    put_file("disk.qcow2", "QFI\xfb\0\0\0\3", 8);
    put_file("qcow2.raw", "QFI\xfb\0\0\0\3", 8);
    put_file("disk.vmdk", "KDMV\1\0\0\0", 8);
    put_file("disk.xz",
             "\xfd"
             "7zXZ\0",
             6);
    put_file("empty.img", "", 0);
    memcpy(cd + 32769, "CD001", 5);
    put_file("disk.iso", cd, sizeof(cd));
    puts_file("guest/vmlinuz", "kernel");
    puts_file("guest/userland.cpio", "archive");
    puts_file("guest/modules/modules.dep", "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return pv_rm_rf(dir);
}

static struct pv_config *load_text(const char *toml, bool with_guest, struct pv_err *err)
{
    cleanup_free char *path = in_dir("provium.toml"), *guest = in_dir("guest");

    puts_file("provium.toml", toml);
    return pv_config_load(path, with_guest ? guest : NULL, err);
}

#define MIN "[profile.a]\nkernel = \"bzImage\"\n"

/* Each file is refused with class usage; the text has "provium.toml:LINE" and all words. */
static const struct {
    const char *toml;
    int line;
    const char *words[4];
} bad_files[] = {
    /* TOML itself */
    {"[profile.a\n", 1, {"provium.toml:1:"}},
    {"\n\n[profile.a]\nkernel = \n", 4, {"provium.toml:4:"}},
    {MIN "kernel = \"x\"\n", 3, {"kernel"}},
    {MIN "[profile.a]\n", 3, {"profile.a"}},
    {"x = \"\xff\xfe\"\n", 1, {"provium.toml:1:"}},
    {"a = \"unterminated\n", 1, {"provium.toml:1:"}},
    /* the top level */
    {"[proviun]\nx = 1\n", 1, {"'proviun'", "not known", "[profile.NAME]", "'provium'"}},
    {"[provium]\nx = 1\n", 2, {"[provium]", "'x' is not known", "cache_size"}},
    {"[provium]\ncache_sise = \"1G\"\n", 2, {"did you mean 'cache_size'?"}},
    {"[provium]\ncache_size = 20\n", 2, {"'cache_size' is not a string", "\"20G\""}},
    {"[provium]\nstandby = \"no\"\n", 2, {"'standby' is no boolean", "true or false"}},
    {"[provium]\nstandbye = false\n", 2, {"did you mean 'standby'?"}},
    {"[provium]\ncache_size = \"much\"\n", 2, {"'cache_size'", "much"}},
    {"provium = 1\n", 1, {"'provium' is not a table"}},
    {"[profiles.a]\nkernel = \"bzImage\"\n", 1, {"'profiles'", "did you mean 'profile'"}},
    {"kernel = \"bzImage\"\n", 1, {"key 'kernel'", "[profile.NAME]"}},
    {"profile = \"a\"\n", 1, {"'profile' is not a table"}},
    {"[profile]\nkernel = \"bzImage\"\n", 2, {"profile.kernel", "not a table"}},
    {"[[profile.a]]\nkernel = \"bzImage\"\n", 1, {"profile.a", "not a table"}},
    {"[profile.\"a b\"]\nkernel = \"bzImage\"\n", 1, {"'a b'", "name"}},
    {"[profile.\"../x\"]\nkernel = \"bzImage\"\n", 1, {"'../x'", "name"}},
    {"[profile.\"\"]\nkernel = \"bzImage\"\n", 1, {"''", "name"}},
    {"[profile.\"a\\u0000b\"]\nkernel = \"bzImage\"\n", 1, {"name"}},
    /* keys */
    {"[profile.a]\nkernle = \"bzImage\"\n", 2, {"'kernle'", "did you mean 'kernel'", "boot_timeout"}},
    {MIN "zzzzz = 1\n", 3, {"'zzzzz'", "expected one of", "qemu_args"}},
    {MIN "[profile.a.nested]\nx = 1\n", 3, {"'nested'"}},
    {"[profile.b]\nappend = \"x\"\n", 1, {"profile 'b'", "'kernel' is missing"}},
    {"# c\n\n[profile.b]\n", 3, {"profile 'b'", "'kernel' is missing"}},
    /* types */
    {"[profile.a]\nkernel = 5\n", 2, {"'kernel'", "a number", "expected the path"}},
    {"[profile.a]\nkernel = [\"bzImage\"]\n", 2, {"'kernel'", "a list"}},
    {MIN "append = true\n", 3, {"'append'", "a boolean"}},
    {MIN "init = 1979-05-27\n", 3, {"'init'", "a date or time"}},
    {MIN "qemu_args = \"-s\"\n", 3, {"'qemu_args'", "a string", "list of strings"}},
    {MIN "qemu_args = [\n\"-s\",\n5]\n", 5, {"'qemu_args'", "entry 2", "a number"}},
    {MIN "debug = 5\n", 3, {"'debug'", "a number"}},
    {MIN "debug = [\".\", \"no-such\"]\n", 3, {"'debug'", "no-such", "does not exist", "vmlinux"}},
    {MIN "env = [\"A=1\"]\n", 3, {"'env'", "a list", "table of strings"}},
    {MIN "[profile.a.env]\nA = \"1\"\nB = 2\n", 5, {"'env'", "B is a number", "quotes"}},
    {MIN "[profile.a.env]\n\"A=B\" = \"1\"\n", 4, {"'env'", "'A=B'"}},
    {MIN "[profile.a.env]\n1A = \"1\"\n", 4, {"'env'", "'1A'"}},
    {MIN "[profile.a.env]\n\"\" = \"1\"\n", 4, {"'env'"}},
    {MIN "[profile.a.env]\nA = \"x\\u0000y\"\n", 4, {"'env'", "NUL"}},
    /* files */
    {"[profile.a]\nkernel = \"missing\"\n", 2, {"'kernel'", "/missing' does not exist"}},
    {"[profile.a]\nkernel = \"sub\"\n", 2, {"'kernel'", "is a directory"}},
    {"[profile.a]\nkernel = \"\"\n", 2, {"'kernel'", "is empty"}},
    {"[profile.a]\nkernel = \"/dev/null\"\n", 2, {"'kernel'", "not a regular file"}},
    {"[profile.a]\nkernel = \"a\\u0000b\"\n", 2, {"'kernel'", "control character"}},
    {"[profile.a]\nkernel = \"bzImage/x\"\n", 2, {"'kernel'", "does not exist"}},
    {MIN "initrd = \"no.cpio\"\n", 3, {"'initrd'", "does not exist"}},
    {MIN "modules = \"bzImage\"\n", 3, {"'modules'", "is not a directory"}},
    /* rootfs */
    {MIN "rootfs = \"disk.vmdk\"\n", 3, {"'rootfs'", "VMDK", "qemu-img convert"}},
    {MIN "rootfs = \"disk.xz\"\n", 3, {"'rootfs'", "xz", "unpack"}},
    {MIN "rootfs = \"disk.iso\"\n", 3, {"'rootfs'", "ISO 9660"}},
    {MIN "rootfs = \"empty.img\"\n", 3, {"'rootfs'", "is empty"}},
    {MIN "rootfs = \"text.img\"\n", 3, {"'rootfs'", "text.img' is a text file", "expected the image of"}},
    {MIN "rootfs = \"zeros.img\"\n",
     3,
     {"'rootfs'", "zeros.img' is all zero bytes;", "expected the image of"}},
    {MIN "rootfs = \"disk.img\"\nrootfs_format = \"vdi\"\n", 4, {"'rootfs_format'", "'vdi'", "qcow2"}},
    {MIN "rootfs = \"disk.img\"\nrootfs_format = \"qcow2\"\n", 4, {"'rootfs_format'", "is a raw image"}},
    {MIN "rootfs_format = \"raw\"\nrootfs = \"disk.qcow2\"\n", 3, {"'rootfs_format'", "is a qcow2 image"}},
    {MIN "rootfs = \"qcow2.raw\"\n", 3, {"'rootfs'", "qcow2 image by its content", "rootfs_format"}},
    {MIN "rootfs = \"disk.img\"\nrootfs_backing = 1\n", 4, {"'rootfs_backing'", "true or false"}},
    {MIN "rootfs_backing = true\n", 3, {"'rootfs_backing'", "no effect without `rootfs`"}},
    {MIN "rootfs_format = \"raw\"\n", 3, {"'rootfs_format'", "no effect without `rootfs`"}},
    {MIN "root = \"LABEL=x\"\n", 3, {"'root'", "no effect without `rootfs`"}},
    {MIN "rootfs = \"disk.img\"\ninitrd = \"initrd.img\"\nroot = \"LABEL=x\"\n", 5, {"'root'", "`initrd`"}},
    {MIN "rootflags = \"subvol=@\"\n", 3, {"'rootflags'", "no effect without `rootfs`"}},
    {MIN "rootfs = \"disk.img\"\ninitrd = \"initrd.img\"\nrootflags = \"subvol=@\"\n",
     5,
     {"'rootflags'", "`initrd`"}},
    {MIN "rootfs = \"disk.img\"\nrootflags = \"subvol=@ ro\"\n", 4, {"'rootflags'", "without spaces"}},
    {MIN "rootfs = \"disk.img\"\nrootflags = \"\"\n", 4, {"'rootflags'", "subvol=@"}},
    {MIN "rootfs = \"disk.img\"\nroot = \"vda2\"\n", 4, {"'root'", "'vda2'", "LABEL=..."}},
    {MIN "rootfs = \"disk.img\"\nroot = \"LABEL=\"\n", 4, {"'root'", "LABEL="}},
    {MIN "rootfs = \"disk.img\"\nroot = \"UUID=xyz\"\n", 4, {"'root'", "UUID="}},
    {MIN "rootfs = \"disk.img\"\nroot = \"/dev/../etc\"\n", 4, {"'root'"}},
    {MIN "rootfs = \"disk.img\"\nroot = \"/dev/vda1\\ninitfallback /x\"\n", 4, {"'root'", "control"}},
    /* the kernel command line */
    {MIN "switch_root = true\n", 3, {"'switch_root'", "no effect without `initrd`"}},
    {MIN "initrd = \"initrd.img\"\nswitch_root = \"yes\"\n", 4, {"'switch_root'", "true or false"}},
    {MIN "init = \"sbin/init\"\n", 3, {"'init'", "'sbin/init'", "absolute"}},
    {MIN "init = \"/\"\n", 3, {"'init'", "absolute"}},
    {MIN "init = \"/a b\"\n", 3, {"'init'", "without spaces"}},
    {MIN "init = '/a\"b'\n", 3, {"'init'", "quotes"}},
    {MIN "append = \"quiet root=/dev/vda2\"\n",
     3,
     {"'append'", "'root=/dev/vda2'", "the profile's key `root`"}},
    {MIN "append = \"init=/bin/sh\"\n", 3, {"'append'", "'init=/bin/sh'", "key `init`"}},
    {MIN "append = \"a \\\"b root=x\\\" rw ro\"\n", 3, {"'append'", "'ro'", "overlay in RAM"}},
    {MIN "rootfs = \"disk.img\"\nroot = \"PARTUUID=1234-01\"\n",
     4,
     {"'root'", "by PARTUUID is not supported"}},
    {MIN "rootfs = \"disk.img\"\nroot = \"PARTLABEL=root\"\n",
     4,
     {"'root'", "by PARTLABEL is not supported"}},
    {MIN "rootfs = \"disk.img\"\nroot = \"/dev/mapper/vg-root\"\n", 4, {"'root'", "LVM"}},
    {MIN "rootfs = \"disk.img\"\nroot = \"/dev/vg/root\"\n", 4, {"'root'", "LVM"}},
    {MIN "append = \"rootflags=subvol=@\"\n", 3, {"'append'", "'rootflags=subvol=@'", "key `rootflags`"}},
    {MIN "append = \"a\\nb\"\n", 3, {"'append'", "control character"}},
    {MIN "append = \"\"\"\nx\"\"\"\ninit = \"x\"\n", 5, {"'init'"}},
    /* the rest */
    {MIN "tcg_thread = \"two\"\n", 3, {"'tcg_thread'", "'two'", "single"}},
    {MIN "tcg_thread = 1\n", 3, {"'tcg_thread'", "a number", "multi"}},
    {MIN "accel = \"xen\"\n", 3, {"'accel'", "'xen'", "tcg"}},
    {MIN "boot_timeout = \"soon\"\n", 3, {"'boot_timeout'", "'soon'"}},
    {MIN "boot_timeout = 0\n", 3, {"'boot_timeout'", "millisecond"}},
    {MIN "boot_timeout = -3\n", 3, {"'boot_timeout'", "-3"}},
    {MIN "boot_timeout = nan\n", 3, {"'boot_timeout'"}},
    {MIN "boot_timeout = true\n", 3, {"'boot_timeout'", "a boolean"}},
    {MIN "qemu = \"none\"\n", 3, {"'qemu'", "/none' does not exist", "QEMU program"}},
    {MIN "qemu = \"bzImage\"\n", 3, {"'qemu'", "may not be executed", "QEMU program"}},
    {MIN "qemu = 1\n", 3, {"'qemu'", "a number", "QEMU program"}},
    {MIN "cpu = \"\"\n", 3, {"'cpu'", "is empty"}},
    /* the first mistake in the text is reported, not the first by name */
    {MIN "zzz = 1\naaa = 1\n", 3, {"'zzz'"}},
};

static void test_bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad_files); i++) {
        struct pv_err err = PV_ERR_INIT;
        char where[64];

        if (load_text(bad_files[i].toml, true, &err))
            fail_msg("accepted: %s", bad_files[i].toml);
        assert_int_equal(err.cls, PV_E_USAGE);
        snprintf(where, sizeof(where), "%s/provium.toml:%d:", dir, bad_files[i].line);
        if (strncmp(err.text, where, strlen(where)) != 0)
            fail_msg("%s: expected %s in: %s", bad_files[i].toml, where, err.text);
        for (size_t j = 0; j < 4 && bad_files[i].words[j]; j++)
            if (!strstr(err.text, bad_files[i].words[j]))
                fail_msg("%s: expected \"%s\" in: %s", bad_files[i].toml, bad_files[i].words[j], err.text);
    }
}

static void test_switch_root(void **state)
{
    static const struct {
        const char *name, *how;
    } cases[] = {{"a", NULL}, {"plain", "auto"}, {"switches", "yes"}, {"stays", "no"}};
    struct pv_err err = PV_ERR_INIT;
    struct pv_config *c;

    (void)state;
#define OWN(name, key) "\n[profile." name "]\nkernel = \"bzImage\"\ninitrd = \"initrd.img\"\n" key
    c = load_text(MIN OWN("plain", "") OWN("switches", "switch_root = true")
                      OWN("stays", "switch_root = false"),
                  true, &err);
#undef OWN
    if (!c)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        const char *how = pv_profile_switch_root(pv_config_profile(c, cases[i].name, &err));

        assert_true(cases[i].how ? how && !strcmp(how, cases[i].how) : !how);
    }
    pv_config_free(c);
}

static void test_good_file(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *kernel = in_dir("bzImage"), *userland = in_dir("guest/userland.cpio");
    const struct pv_profile *p;
    struct pv_config *c;

    (void)state;
    c = load_text(MIN
                  "\n[profile.full]\nkernel = \"sub/../bzImage\"\nrootfs = \"disk.qcow2\"\ninit = \"/init\"\n"
                  "append = \"a=1 b\"\nmodules = \"tree\"\nmachine = \"pc\"\ncpu = \"max\"\naccel = \"tcg\"\n"
                  "tcg_thread = \"multi\"\n"
                  "transport = \"serial\"\nboot_timeout = \"2m\"\nqemu_args = [\"-s\", \"-S\"]\nroot = "
                  "\"LABEL=my root\"\n"
                  "env = {A = \"1\", B = \"two words\", C = \"\"}\n"
                  "[profile.both]\nkernel = \"bzImage\"\ninitrd = \"initrd.img\"\nrootfs = \"disk.img\"\n"
                  "boot_timeout = 1.5\n[profile.iso]\nkernel = \"bzImage\"\nrootfs = \"disk.iso\"\n"
                  "rootfs_format = \"raw\"\n",
                  true, &err);
    if (!c)
        fail_msg("%s", err.text);
    p = pv_config_profile(c, "a", &err);
    assert_non_null(p);
    assert_string_equal(p->kernel, kernel);
    assert_string_equal(p->initrd, userland);
    assert_true(p->builtin_userland);
    assert_string_equal(p->init, "/sbin/init");
    assert_false(p->init_set);
    assert_string_equal(p->append, "");
    assert_null(p->rootfs);
    assert_int_equal(p->accel, PV_ACCEL_AUTO);
    assert_int_equal(p->tcg_thread, PV_TCG_THREAD_AUTO);
    assert_int_equal(p->boot_timeout_ns, 0);
    assert_int_equal(p->line, 1);
    p = pv_config_profile(c, "full", &err);
    assert_non_null(p);
    assert_null(p->initrd);
    assert_false(p->builtin_userland);
    assert_string_equal(p->rootfs_format, "qcow2");
    assert_string_equal(p->root, "LABEL=my root");
    assert_true(p->init_set);
    assert_int_equal(p->accel, PV_ACCEL_TCG);
    assert_int_equal(p->tcg_thread, PV_TCG_THREAD_MULTI);
    assert_true(p->boot_timeout_ns == 120 * PV_NSEC_PER_SEC);
    assert_int_equal(p->qemu_args.n, 2);
    assert_string_equal(p->qemu_args.v[1], "-S");
    assert_int_equal(p->env.n, 3);
    assert_string_equal(p->env.v[1], "B=two words");
    assert_string_equal(p->env.v[2], "C=");
    p = pv_config_profile(c, "both", &err);
    assert_non_null(p);
    assert_string_equal(p->rootfs_format, "raw");
    assert_true(p->boot_timeout_ns == 1500 * PV_NSEC_PER_MSEC);
    p = pv_config_profile(c, "iso", &err);
    assert_non_null(p);
    assert_string_equal(p->rootfs_format, "raw");
    pv_config_free(c);
}

static void test_default(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *kernel = in_dir("guest/vmlinuz"), *tree = in_dir("guest/modules");
    const struct pv_profile *p;
    struct pv_config *c;

    (void)state;
    c = load_text("", true, &err);
    assert_non_null(c);
    p = pv_config_profile(c, NULL, &err);
    assert_non_null(p);
    assert_string_equal(p->name, "default");
    assert_string_equal(p->kernel, kernel);
    assert_string_equal(p->modules, tree);
    assert_int_equal(p->line, 0);
    pv_config_free(c);

    /* [profile.default] replaces the built-in one */
    c = load_text("[profile.default]\nkernel = \"bzImage\"\n", true, &err);
    assert_non_null(c);
    assert_int_equal(c->n_profiles, 1);
    assert_int_equal(pv_config_profile(c, NULL, &err)->line, 1);
    pv_config_free(c);

    /* not set up */
    c = load_text(MIN "[profile.r]\nkernel = \"bzImage\"\nrootfs = \"disk.img\"\n", false, &err);
    assert_non_null(c);
    assert_null(pv_config_profile(c, NULL, &err));
    assert_int_equal(err.cls, PV_E_MISSING);
    assert_non_null(strstr(err.text, pv_guest_command()));
    assert_null(pv_config_profile(c, "a", &err));
    assert_int_equal(err.cls, PV_E_MISSING);
    assert_non_null(strstr(err.text, "provium.toml:1: profile 'a'"));
    assert_non_null(strstr(err.text, pv_guest_command()));
    assert_non_null(pv_config_profile(c, "r", &err));
    pv_config_free(c);
}

static void test_unknown_profile(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_config *c = load_text("[profile.minimal]\nkernel = \"bzImage\"\n", true, &err);

    (void)state;
    assert_non_null(c);
    assert_null(pv_config_profile(c, "minmal", &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "unknown profile 'minmal'"));
    assert_non_null(strstr(err.text, "did you mean 'minimal'?"));
    assert_non_null(strstr(err.text, "minimal, default"));
    pv_config_free(c);
}

static void test_search(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *deep = in_dir("sub/deep"), *cwd = getcwd(NULL, 0), *sub = in_dir("sub");
    struct pv_config *c;

    (void)state;
    puts_file("provium.toml", MIN);
    assert_int_equal(chdir(deep), 0);
    c = pv_config_load(NULL, NULL, &err);
    if (!c)
        fail_msg("%s", err.text);
    assert_string_equal(c->dir, dir);
    assert_non_null(strstr(c->path, "/provium.toml"));
    pv_config_free(c);

    /* what is found and is no file: a link that leads nowhere, and a fifo, which would be waited for */
    assert_int_equal(symlink("/nonexistent/x", "provium.toml"), 0);
    assert_null(pv_config_load(NULL, NULL, &err));
    assert_non_null(strstr(err.text, "sub/deep/provium.toml' cannot be read: No such file"));
    assert_int_equal(unlink("provium.toml"), 0);
    assert_int_equal(mkfifo("provium.toml", 0600), 0);
    assert_null(pv_config_load(NULL, NULL, &err));
    assert_non_null(strstr(err.text, "sub/deep/provium.toml' is no regular file; expected a text file"));
    assert_int_equal(unlink("provium.toml"), 0);

    /* no provium.toml up to the root: no error */
    assert_int_equal(chdir("/"), 0);
    if (access("/provium.toml", F_OK) != 0) {
        c = pv_config_load(NULL, NULL, &err);
        assert_non_null(c);
        assert_null(c->path);
        assert_string_equal(c->dir, "/");
        assert_int_equal(c->n_profiles, 0);
        pv_config_free(c);
    }
    assert_int_equal(chdir(cwd), 0);

    /* a missing path, and a directory */
    assert_null(pv_config_load("/nonexistent/provium.toml", NULL, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "/nonexistent/provium.toml"));
    assert_null(pv_config_load(sub, NULL, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "is a directory"));
}

static void test_guest_dir(void **state)
{
    cleanup_free char *guest = in_dir("guest"), *tree = in_dir("tree");
    struct pv_err err = PV_ERR_INIT;
    char *found;

    (void)state;
    assert_int_equal(setenv("PROVIUM_GUEST_DIR", guest, 1), 0);
    found = pv_guest_dir();
    assert_non_null(found);
    assert_string_equal(found, guest);
    free(found);
    assert_int_equal(setenv("PROVIUM_GUEST_DIR", tree, 1), 0);
    assert_null(pv_guest_dir());
    pv_err_set(&err, PV_E_MISSING, "not set up");
    pv_guest_advise(&err);
    assert_non_null(strstr(err.text, "not set up where the environment variable PROVIUM_GUEST_DIR says"));
    assert_non_null(strstr(err.text, tree));
    assert_non_null(strstr(err.text, pv_guest_command()));
    unsetenv("PROVIUM_GUEST_DIR");
    pv_err_set(&err, PV_E_MISSING, "not set up");
    pv_guest_advise(&err);
    assert_null(strstr(err.text, "PROVIUM_GUEST_DIR"));
}

/* Where `provium setup` makes a guest: this binary is in a source tree's build directory, or in another one. */
static void test_guest_home(void **state)
{
    cleanup_free char *guest = in_dir("guest"), *self = pv_self_dir(), *beside = pv_path_join(self, "guest");
    bool in_tree = !strcmp(pv_guest_command(), "make setup");
    char *home;

    (void)state;
    assert_int_equal(setenv("PROVIUM_GUEST_DIR", guest, 1), 0);
    home = pv_guest_home();
    assert_string_equal(home, guest);
    free(home);
    unsetenv("PROVIUM_GUEST_DIR");
    assert_int_equal(setenv("XDG_DATA_HOME", "/data", 1), 0);
    home = pv_guest_home();
    assert_string_equal(home, in_tree ? beside : "/data/provium/guest");
    free(home);
    assert_int_equal(setenv("XDG_DATA_HOME", "not/absolute", 1), 0);
    assert_int_equal(setenv("HOME", "/home/me", 1), 0);
    home = pv_guest_home();
    assert_string_equal(home, in_tree ? beside : "/home/me/.local/share/provium/guest");
    free(home);
    unsetenv("XDG_DATA_HOME");
}

/* Deep nesting and a large file are errors, not a crash. */
static void test_hostile_toml(void **state)
{
    cleanup_buf struct pv_buf text = {0};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    pv_buf_adds(&text, "a = ");
    for (int i = 0; i < 100000; i++)
        pv_buf_addc(&text, '[');
    assert_null(pv_toml_parse(text.data, text.len, "f.toml", &err));
    assert_non_null(strstr(err.text, "f.toml:1:"));
    text.len = 0;
    for (int i = 0; i < 1100000; i++)
        pv_buf_addc(&text, '#');
    assert_null(load_text(text.data, true, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "larger than"));
    assert_null(pv_toml_parse("a = \"\0\"", 7, "f.toml", &err));
}

static void test_cache_size(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_config *c = load_text(MIN "[provium]\ncache_size = \"3G\"\n", false, &err);

    (void)state;
    assert_non_null(c);
    assert_int_equal(c->cache_size, UINT64_C(3) << 30);
    pv_config_free(c);
    c = load_text(MIN, false, &err);
    assert_non_null(c);
    assert_int_equal(c->cache_size, UINT64_C(20) << 30);
    pv_config_free(c);
}

static void test_standby(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_config *c = load_text(MIN "[provium]\nstandby = false\n", false, &err);

    (void)state;
    assert_non_null(c);
    assert_false(c->standby);
    pv_config_free(c);
    c = load_text(MIN, false, &err);
    assert_non_null(c);
    assert_true(c->standby);
    pv_config_free(c);
}

static void test_accel_names(void **state)
{
    enum pv_accel a = PV_ACCEL_AUTO;

    (void)state;
    assert_true(pv_accel_parse("kvm", &a));
    assert_int_equal(a, PV_ACCEL_KVM);
    assert_false(pv_accel_parse("KVM", &a));
    assert_false(pv_accel_parse("", &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_files),       cmocka_unit_test(test_switch_root),
        cmocka_unit_test(test_good_file),       cmocka_unit_test(test_default),
        cmocka_unit_test(test_unknown_profile), cmocka_unit_test(test_search),
        cmocka_unit_test(test_guest_dir),       cmocka_unit_test(test_guest_home),
        cmocka_unit_test(test_hostile_toml),    cmocka_unit_test(test_accel_names),
        cmocka_unit_test(test_cache_size),      cmocka_unit_test(test_standby),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

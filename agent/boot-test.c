/* SPDX-License-Identifier: MIT */
/* The pure parts of guest init: boot.conf, the kernel command line, superblocks, paths through links. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "superblock.h"
#include "util.h"

static void test_conf(void **state)
{
    char text[] = "module a.ko\nmodule b.ko\nfsmodule ext4 ext4.ko\nrootfs vda\nroot LABEL=my root\n"
                  "rootflags subvol=@,ssd\ninitfallback /init\nserial provium.agent\n";
    struct ag_conf *c = malloc(sizeof(*c));
    char why[128];

    (void)state;
    assert_true(ag_conf_parse(text, c, why, sizeof(why)));
    assert_int_equal(c->n_modules, 2);
    assert_string_equal(c->modules[1], "b.ko");
    assert_int_equal(c->n_fs_modules, 1);
    assert_string_equal(c->fs_modules[0].type, "ext4");
    assert_string_equal(c->fs_modules[0].file, "ext4.ko");
    assert_string_equal(c->rootfs, "vda");
    assert_string_equal(c->root, "LABEL=my root");
    assert_string_equal(c->rootflags, "subvol=@,ssd");
    assert_string_equal(c->init_fallback, "/init");
    assert_string_equal(c->serial, "provium.agent");
    free(c);
}

static void test_conf_share(void **state)
{
    char text[] = "sharerw root\nsharetype virtiofs\nworkshare work /home/a b\nidle idle\n",
         only[] = "share root\n";
    struct ag_conf *c = malloc(sizeof(*c));
    char why[128];

    (void)state;
    assert_true(ag_conf_parse(text, c, why, sizeof(why)));
    assert_string_equal(c->share, "root");
    assert_true(c->share_writable && c->idle);
    assert_string_equal(c->share_type, "virtiofs");
    assert_string_equal(c->work_share, "work");
    assert_string_equal(c->work_dir, "/home/a b");
    assert_true(ag_conf_parse(only, c, why, sizeof(why)));
    assert_true(c->share && !c->share_writable && !c->idle && !c->work_share && !c->share_type);
    free(c);
}

static void test_conf_switch_root(void **state)
{
    static const char *const hows[] = {"auto", "yes", "no"};
    struct ag_conf *c = malloc(sizeof(*c));
    char why[128], text[64];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "switchroot %s\n", hows[i]);
        assert_true(ag_conf_parse(text, c, why, sizeof(why)));
        assert_string_equal(c->switch_root, hows[i]);
    }
    free(c);
}

static void test_conf_bad(void **state)
{
    static const char *const bad[][2] = {
        {"modul a.ko\n", "line 1: 'modul' is no setting that this guest init knows"},
        {"\nmodule\n", "line 2: 'module' has no value"},
        {"module \n", "line 1: 'module' has no value"},
        {"module ../x\n", "line 1: 'module' wants a file name without '/'"},
        {"module ..\n", "line 1: 'module' wants a file name without '/'"},
        {"fsmodule ext4\n", "line 1: 'fsmodule' wants TYPE FILE"},
        {"rootfs /dev/vda", "line 1: 'rootfs' wants a device name like vda"},
        {"rootfs vda\nrootfs vdb\n", "line 2: 'rootfs' is there twice"},
        {"share a\nsharerw b\n", "line 2: 'sharerw' is there twice"},
        {"sharetype nfs\n", "line 1: 'sharetype' wants 9p or virtiofs"},
        {"workshare work\n", "line 1: 'workshare' wants TAG DIRECTORY"},
        {"workshare work home\n", "line 1: 'workshare' wants TAG DIRECTORY"},
        {"switchroot maybe\n", "line 1: 'switchroot' wants auto, yes or no"},
        {"idle yes\n", "line 1: 'idle' wants idle"},
        {"serial a/b\n", "line 1: 'serial' wants the name of a port"},
        {"initfallback init\n", "line 1: 'initfallback' wants an absolute path"},
    };
    struct ag_conf *c = malloc(sizeof(*c));

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[128], why[128];

        snprintf(text, sizeof(text), "%s", bad[i][0]);
        assert_false(ag_conf_parse(text, c, why, sizeof(why)));
        assert_string_equal(why, bad[i][1]);
    }
    char *many = malloc(AG_CONF_MAX), why[128];
    many[0] = '\0';
    for (int i = 0; i <= AG_MODULES_MAX; i++)
        strcat(many, "module m\n");
    assert_false(ag_conf_parse(many, c, why, sizeof(why)));
    assert_string_equal(why, "line 257: 'module' is there too often");
    free(many);
    free(c);
}

static void test_cmdline(void **state)
{
    char v[16];

    (void)state;
    assert_true(ag_cmdline_get("quiet provium.init=/init x=y\n", "provium.init", v, sizeof(v)));
    assert_string_equal(v, "/init");
    assert_true(ag_cmdline_get("provium.init=/a provium.init=/b\n", "provium.init", v, sizeof(v)));
    assert_string_equal(v, "/b");
    assert_true(ag_cmdline_get("a=\"provium.init=/no\" provium.init=\"/a b\"", "provium.init", v, sizeof(v)));
    assert_string_equal(v, "/a b");
    assert_false(
        ag_cmdline_get("xprovium.init=/a provium.initx=/b provium.init", "provium.init", v, sizeof(v)));
    assert_false(ag_cmdline_get("provium.init=/much/too/long/for/it", "provium.init", v, sizeof(v)));
    assert_false(ag_cmdline_get("", "provium.init", v, sizeof(v)));
}

struct patch {
    long at;
    const char *bytes;
    size_t n;
};

static bool probe(const struct patch *p, size_t n, long size, struct ag_super *sb)
{
    int fd = memfd_create("image", MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, size), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pwrite(fd, p[i].bytes, p[i].n, p[i].at), p[i].n);
    bool r = ag_super_probe(fd, sb);
    close(fd);
    return r;
}

#define B(at, s) \
    { \
        at, s, sizeof(s) - 1 \
    }
#define UUID "\x2a\xa6\xec\xc9\x2b\x18\x4c\x22\xb1\xb9\x76\xd8\x34\x33\xa6\x2f"
#define UUID_TEXT "2aa6ecc9-2b18-4c22-b1b9-76d83433a62f"

static void test_superblocks(void **state)
{
    static const struct {
        struct patch p[3];
        const char *type, *label, *uuid;
        bool root;
    } c[] = {
        {{B(1080, "\x53\xef"), B(1024 + 0x68, UUID), B(1024 + 0x78, "rootlabel")},
         "ext4",
         "rootlabel",
         UUID_TEXT,
         true},
        {{B(0, "XFSB"), B(32, UUID), B(108, "twelve chars")}, "xfs", "twelve chars", UUID_TEXT, true},
        {{B(65536 + 0x40, "_BHRfS_M"), B(65536 + 0x20, UUID), B(65536 + 0x12b, "b")},
         "btrfs",
         "b",
         UUID_TEXT,
         true},
        {{B(0, "hsqs"), B(28, "\4"), B(40, "")}, "squashfs", "", "", true},
        {{B(1024, "\xe2\xe1\xf5\xe0"), B(1024 + 48, UUID), B(1024 + 64, "e")}, "erofs", "e", UUID_TEXT, true},
        {{B(1024, "\x10\x20\xf5\xf2"), B(1024 + 108, UUID), B(1024 + 124, "f\0\x32\0")},
         "f2fs",
         "f2",
         UUID_TEXT,
         true},
        {{B(510, "\x55\xaa"), B(82, "FAT32   "),
          B(67, "\x34\x12\xcd\xab"
                "EFI        ")},
         "vfat",
         "EFI",
         "abcd-1234",
         false},
        {{B(32769, "CD001"), B(32768 + 40, "CDROM   "), B(32768, "\1")}, "iso9660", "CDROM", "", true},
        {{B(4086, "SWAPSPACE2"), B(0, ""), B(0, "")}, "swap", "", "", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        struct ag_super sb;

        assert_true(probe(c[i].p, 3, 1 << 20, &sb));
        assert_string_equal(sb.type, c[i].type);
        assert_string_equal(sb.label, c[i].label);
        assert_string_equal(sb.uuid, c[i].uuid);
        assert_int_equal(sb.root, c[i].root);
    }
    struct ag_super sb;
    const struct patch mbr[] = {B(510, "\x55\xaa")};
    assert_false(probe(NULL, 0, 0, &sb)); /* an empty file, zeros, a partition table */
    assert_false(probe(NULL, 0, 1 << 20, &sb));
    assert_false(probe(mbr, 1, 1 << 20, &sb));
}

/* Random superblocks: the strings stay within their bounds. */
static void test_super_garbage(void **state)
{
    static char junk[70000];

    (void)state;
    memset(junk, 'A', sizeof(junk));
    static const struct patch magics[] = {
        B(1080, "\x53\xef"),         B(0, "XFSB"),
        B(65536 + 0x40, "_BHRfS_M"), B(1024, "\xe2\xe1\xf5\xe0"),
        B(1024, "\x10\x20\xf5\xf2"), B(32769, "CD001"),
    };
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        const struct patch p[] = {{0, junk, sizeof(junk)}, magics[i]};
        struct ag_super sb;

        assert_true(probe(p, 2, sizeof(junk), &sb));
        assert_true(strlen(sb.label) < sizeof(sb.label) && strlen(sb.uuid) < sizeof(sb.uuid));
    }
}

static void test_mkdir_p(void **state)
{
    char dir[] = "/tmp/pv-boot-test-XXXXXX", path[256], cmd[64];
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
#define P(s) (snprintf(path, sizeof(path), "%s" s, dir), path)
    assert_int_equal(symlink("usr/lib", P("/lib")), 0); /* usr does not exist yet */
    assert_int_equal(ag_mkdir_p(P("/lib/a/b"), 0755), 0);
    assert_int_equal(stat(P("/usr/lib/a/b"), &st), 0);
    assert_int_equal(ag_mkdir_p(P("/lib/a/b"), 0755), 0);
    assert_int_equal(ag_mkdir_p(P("//lib//a/c/"), 0755), 0);
    assert_int_equal(symlink("loop", P("/loop")), 0);
    assert_int_equal(ag_mkdir_p(P("/loop/x"), 0755), -1);
    FILE *f = fopen(P("/file"), "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(ag_mkdir_p(P("/file/x"), 0755), -1);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    assert_int_equal(system(cmd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conf),
        cmocka_unit_test(test_conf_share),
        cmocka_unit_test(test_conf_switch_root),
        cmocka_unit_test(test_conf_bad),
        cmocka_unit_test(test_cmdline),
        cmocka_unit_test(test_superblocks),
        cmocka_unit_test(test_super_garbage),
        cmocka_unit_test(test_mkdir_p),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

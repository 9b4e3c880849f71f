/* SPDX-License-Identifier: MIT */
/* Kernels in other wrappings (unified kernel images, a compressed vmlinux), and their configurations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image/image.h"
#include "image/kconfig.h"
#include "image/test-kernel-files.h"
#include "util/err.h"
#include "util/path.h"

enum { KERNEL_AT = 512 };

static char dir[] = "/tmp/pv-odd-kernels-test-XXXXXX";

static char *in_dir(const char *name)
{
    return pv_path_join(dir, name);
}

static void put_u32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> 8 * i);
}

/* A PE program with the sections .osrel and, at KERNEL_AT, .linux; `cut` bytes are missing at its end. */
static void write_uki(const char *path, const struct pv_buf *kernel, size_t cut)
{
    cleanup_buf struct pv_buf b = {0};
    char head[KERNEL_AT] = "MZ";

    put_u32(head + 0x3c, 0x80);
    memcpy(head + 0x80, "PE\0\0", 4);
    head[0x86] = 2;    /* sections */
    head[0x94] = 0x10; /* size of the optional header */
    memcpy(head + 0xa8, ".osrel\0\0", 8);
    memcpy(head + 0xd0, ".linux\0\0", 8);
    put_u32(head + 0xd0 + 8, (uint32_t)kernel->len);
    put_u32(head + 0xd0 + 16, (uint32_t)kernel->len + 100);
    put_u32(head + 0xd0 + 20, KERNEL_AT);
    pv_buf_add(&b, head, sizeof(head));
    pv_buf_add(&b, kernel->data, kernel->len - cut);
    test_write(path, b.data, b.len);
}

static void opens_unified_images(void **state)
{
    cleanup_free char *plain = in_dir("vmlinuz"), *uki = in_dir("linux.efi"), *got = NULL;
    cleanup_buf struct pv_buf elf = {0}, kernel = {0};
    struct pv_err err = PV_ERR_INIT;
    struct pv_kernel k, same;

    (void)state;
    test_make_kernel(plain, PV_COMP_LZ4, 7, true, &elf);
    assert_int_equal(pv_read_file(plain, 1 << 30, &kernel, &err), 0);
    write_uki(uki, &kernel, 0);
    assert_int_equal(pv_kernel_open(plain, false, &same, &err), 0);
    assert_int_equal(pv_kernel_open(uki, false, &k, &err), 0);
    assert_string_equal(k.release, same.release);
    got = pv_xmalloc(kernel.len + 1);
    assert_int_equal(pread(k.fd, got, kernel.len + 1, 0), kernel.len);
    assert_memory_equal(got, kernel.data, kernel.len);
    pv_kernel_fini(&k);
    pv_kernel_fini(&same);
    assert_int_equal(pv_kernel_open(uki, true, &k, &err), 0); /* unpacked, as the plain one */
    assert_true(k.unpacked);
    pv_kernel_fini(&k);
    write_uki(uki, &kernel, 10);
    assert_int_equal(pv_kernel_open(uki, false, &k, &err), -1);
    assert_non_null(strstr(err.text, "unified kernel image that is cut short"));
}

static void opens_a_compressed_vmlinux(void **state)
{
    static const enum pv_comp comps[] = {PV_COMP_GZIP, PV_COMP_XZ, PV_COMP_ZSTD};
    cleanup_buf struct pv_buf elf = {0};
    cleanup_free char *path = in_dir("vmlinux.packed");
    struct pv_err err = PV_ERR_INIT;
    struct pv_kernel k;

    (void)state;
    test_make_elf(&elf, TEST_ELF_SIZE, true, 3);
    for (size_t i = 0; i < PV_ARRAY_LEN(comps); i++) {
        cleanup_buf struct pv_buf packed = {0}, got = {0};

        test_compress(comps[i], elf.data, elf.len, &packed);
        test_write(path, packed.data, packed.len);
        if (pv_kernel_open(path, false, &k, &err) < 0)
            fail_msg("%s", err.text);
        assert_true(k.unpacked);
        assert_int_equal(pv_read_file(k.boot_path, 1 << 30, &got, &err), 0);
        assert_int_equal(got.len, elf.len);
        assert_memory_equal(got.data, elf.data, elf.len);
        pv_kernel_fini(&k);
    }
    pv_buf_free(&elf);
    test_compress(PV_COMP_GZIP, "no kernel", 9, &elf);
    test_write(path, elf.data, elf.len);
    assert_int_equal(pv_kernel_open(path, false, &k, &err), -1);
    assert_non_null(strstr(err.text, "is a gzip file; expected an x86-64 bzImage"));
}

/* ---- configurations ---- */

static const char most[] =
    "CONFIG_64BIT=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_BINFMT_ELF=y\nCONFIG_PROC_FS=y\nCONFIG_PCI=y\n"
    "CONFIG_VIRTIO_PCI=m\nCONFIG_SERIAL_8250_CONSOLE=y\nCONFIG_VIRTIO_CONSOLE=m\n";

static void expect_lack(const char *text, unsigned needs, const char *lack)
{
    cleanup_free char *path = in_dir("config");
    struct pv_err err = PV_ERR_INIT;

    test_write(path, text, strlen(text));
    if (!lack) {
        if (pv_kconfig_check(path, needs, &err) < 0)
            fail_msg("%s", err.text);
        return;
    }
    assert_int_equal(pv_kconfig_check(path, needs, &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    if (!strstr(err.text, lack) || !strstr(err.text, path))
        fail_msg("'%s' does not say '%s'", err.text, lack);
}

static void names_missing_options(void **state)
{
    (void)state;
    expect_lack(most, PV_KNEED_SERIAL, NULL);
    expect_lack(most, PV_KNEED_SERIAL | PV_KNEED_VSOCK, NULL);
    expect_lack(most, PV_KNEED_VSOCK, "CONFIG_VIRTIO_VSOCKETS: the agent reaches the host by it");
    expect_lack(most, PV_KNEED_SERIAL | PV_KNEED_ROOT, "CONFIG_OVERLAY_FS");
    expect_lack(most, PV_KNEED_SERIAL | PV_KNEED_NIC, "CONFIG_VIRTIO_NET");
    expect_lack("CONFIG_64BIT=y\n# CONFIG_PCI is not set\nCONFIG_PCI_QUIRKS=y\n", 0, "CONFIG_PCI: ");
    expect_lack("CONFIG_64BIT=y\n", PV_KNEED_SERIAL | PV_KNEED_VSOCK, "needs one of them");
    expect_lack("CONFIG_64BIT=y\n", 0, "CONFIG_SERIAL_8250_CONSOLE: the console is a serial port");
    expect_lack("", 0, NULL); /* an empty file says nothing */
}

static void expect_config(const char *kernel, const char *tree, const char *want)
{
    cleanup_free char *found = pv_kconfig_find(kernel, tree), *full = want ? in_dir(want) : NULL;

    if (!want)
        assert_null(found);
    else if (!found || strcmp(found, full) != 0)
        fail_msg("'%s' is the configuration of '%s', not '%s'", found ? found : "nothing", kernel, full);
}

static void finds_configurations(void **state)
{
    cleanup_free char *boot = in_dir("vmlinuz-6.1"), *config = in_dir("config-6.1"), *tree = in_dir("tree");
    cleanup_free char *in_tree = in_dir("tree/config"), *build = in_dir("vmlinux"), *dot = in_dir(".config");
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

    (void)state;
    test_write(boot, "k", 1);
    test_write(build, "k", 1);
    assert_int_equal(mkdir(tree, 0755), 0);
    expect_config(boot, tree, NULL);
    test_write(in_tree, "c", 1);
    expect_config(boot, tree, "tree/config");
    test_write(config, "c", 1);
    expect_config(boot, tree, "config-6.1");
    expect_config(build, NULL, NULL);
    test_write(dot, "c", 1);
    assert_int_equal(utimensat(AT_FDCWD, build, old, 0), 0);
    expect_config(build, NULL, NULL); /* changed since the kernel was built */
    assert_int_equal(utimensat(AT_FDCWD, dot, old, 0), 0);
    expect_config(build, NULL, ".config");
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    return setenv("XDG_CACHE_HOME", dir, 1);
}

static int teardown(void **state)
{
    (void)state;
    return pv_rm_rf(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_unified_images),
        cmocka_unit_test(opens_a_compressed_vmlinux),
        cmocka_unit_test(names_missing_options),
        cmocka_unit_test(finds_configurations),
    };

    return cmocka_run_group_tests_name("image-odd-kernels", tests, setup, teardown);
}

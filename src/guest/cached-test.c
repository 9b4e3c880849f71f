/* SPDX-License-Identifier: MIT */
/* The options of a boot as text, and the boots that cannot be kept. */
#include "util/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "guest/cached.h"
#include "guest/guest.h"
#include "util/err.h"
#include "vm/spec.h"

static struct pv_config *config;
static struct pv_guest_env env;
static char image[] = "/tmp/pv-cached-test-XXXXXX";

/* The text of options: in two buffers in turn. */
static const char *text_of(const struct pv_boot_opts *o)
{
    static struct pv_buf text[2];
    static int i;

    i = !i;
    pv_buf_free(&text[i]);
    pv_boot_opts_describe(o, &text[i]);
    return text[i].data;
}

static void each_option_changes_the_text(void **state)
{
    struct pv_guest_file file = {.guest_path = (char *)"/a", .host_path = (char *)"b"};
    struct pv_guest_file files[] = {file, file, file, file, file};
    struct pv_guest_disk disk = {.path = (char *)"d", .format = (char *)"raw"};
    struct pv_guest_disk disks[] = {disk, disk, disk, disk, disk, disk, disk};
    struct pv_boot_opts all[32] = {{0},
                                   {.memory = UINT64_C(1) << 30},
                                   {.cpus = 2},
                                   {.append = (char *)"x"},
                                   {.transport = PV_TRANSPORT_SERIAL},
                                   {.vsock = true},
                                   {.gdb = true},
                                   {.follow = true},
                                   {.keep_disks = true}};
    size_t n = 9;

    (void)state;
    files[1].guest_path = (char *)"/b";
    files[2].host_path = NULL;
    files[2].content = (char *)"one";
    files[2].content_n = 3;
    files[3] = files[2];
    files[3].content = (char *)"two";
    files[4].has_owner = true;
    for (size_t i = 0; i < PV_ARRAY_LEN(files); i++)
        all[n++] = (struct pv_boot_opts){.files = &files[i], .n_files = 1};
    disks[1].format = (char *)"qcow2";
    disks[2].bus = PV_VM_BUS_SCSI;
    disks[3].readonly = true;
    disks[4].snapshot = true;
    disks[5].sector = 4096;
    disks[6].name = (char *)"data";
    for (size_t i = 0; i < PV_ARRAY_LEN(disks); i++)
        all[n++] = (struct pv_boot_opts){.disks = &disks[i], .n_disks = 1};
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (!strcmp(text_of(&all[i]), text_of(&all[j])))
                fail_msg("options %zu and %zu are the same text: %s", i, j, text_of(&all[i]));
}

static void assert_not_kept(const struct pv_profile *p, const struct pv_boot_opts *o, const char *why)
{
    struct pv_guest *g = pv_guest_new(&env, p);
    struct pv_err err = PV_ERR_INIT;
    int r = pv_guest_check_cacheable(g, o, &err);

    pv_guest_free(g);
    if (!why && r < 0)
        fail_msg("%s", err.text);
    if (!why)
        return;
    assert_int_equal(r, -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    if (!strstr(err.text, why))
        fail_msg("expected '%s' in: %s", why, err.text);
}

static void boots_that_cannot_be_kept(void **state)
{
    struct pv_profile p = *pv_config_profile(config, "p", NULL);
    struct pv_guest_disk disk = {.path = image, .format = (char *)"raw"};
    struct pv_boot_opts o = {0}, disks = {.disks = &disk, .n_disks = 1};

    (void)state;
    assert_not_kept(&p, &o, NULL);
    assert_not_kept(&p, &(struct pv_boot_opts){.gdb = true}, "gdb = true");
    assert_not_kept(&p, &(struct pv_boot_opts){.n_nics = 1}, "it has NICs");
    assert_not_kept(&p, &(struct pv_boot_opts){.root.dir = (char *)"/"}, "a directory of the host");
    assert_not_kept(&p, &(struct pv_boot_opts){.transport = PV_TRANSPORT_VSOCK}, "transport = \"vsock\"");
    assert_not_kept(&p, &disks, "writes to its disk");
    disk.readonly = true;
    assert_not_kept(&p, &disks, NULL);
    disk.bus = PV_VM_BUS_NVME;
    assert_not_kept(&p, &disks, "bus = \"nvme\"");
    disk.bus = PV_VM_BUS_VIRTIO;
    disk.faults = true;
    assert_not_kept(&p, &disks, "faults = true");
    p.transport = PV_TRANSPORT_VSOCK;
    assert_not_kept(&p, &o, "transport = \"vsock\"");
    assert_not_kept(&p, &(struct pv_boot_opts){.transport = PV_TRANSPORT_SERIAL}, NULL);
}

static void arguments_of_qemu(void **state)
{
    static const struct {
        const char *option, *value, *why;
    } rows[] = {{"-device", "virtio-rng-pci", NULL},
                {"-device", "loader,file=x.bin", "'-device'"},
                {"-drive", "x.img", "'-drive'"},
                {"-device", NULL, "'-device'"},
                {"-device", "virtio-balloon", "discards memory"}};

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++) {
        struct pv_profile p = *pv_config_profile(config, "p", NULL);
        struct pv_strv args = {0};

        pv_strv_add(&args, rows[i].option);
        if (rows[i].value)
            pv_strv_add(&args, rows[i].value);
        p.qemu_args = args;
        assert_not_kept(&p, &(struct pv_boot_opts){0}, rows[i].why);
        pv_strv_free(&args);
    }
}

static int group_set_up(void **state)
{
    char path[] = "/tmp/pv-cached-test-XXXXXX";
    struct pv_err err = PV_ERR_INIT;
    int fd = mkstemp(path), image_fd = mkstemp(image);

    (void)state;
    if (image_fd < 0 || ftruncate(image_fd, 1 << 20) < 0 || fd < 0 ||
        dprintf(fd, "[profile.p]\nkernel = \"%s\"\ninitrd = \"%s\"\n", image, image) < 0)
        return -1;
    close(fd);
    close(image_fd);
    config = pv_config_load(path, NULL, &err);
    unlink(path);
    return config ? 0 : -1;
}

static int group_tear_down(void **state)
{
    (void)state;
    pv_config_free(config);
    unlink(image);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_option_changes_the_text),
        cmocka_unit_test(boots_that_cannot_be_kept),
        cmocka_unit_test(arguments_of_qemu),
    };

    return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}

/* SPDX-License-Identifier: MIT */
/* A machine from boot options, as QEMU's command line, saved and read back. */
#include "util/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "guest/emulation.h"
#include "guest/guest.h"
#include "guest/machine.h"
#include "util/err.h"
#include "util/path.h"
#include "vm/accel.h"
#include "vm/spec.h"

static struct pv_config *config;
static const struct pv_profile *profile;
static char image[] = "/tmp/pv-machine-test-XXXXXX";

static struct pv_machine *machine_of(const struct pv_boot_opts *o, bool savable)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_machine *m = pv_machine_new(profile, o, savable, &err);

    if (!m)
        fail_msg("%s", err.text);
    return m;
}

static void assert_refused(const struct pv_boot_opts *o, const char *why)
{
    struct pv_err err = PV_ERR_INIT;

    assert_null(pv_machine_new(profile, o, true, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    if (!strstr(err.text, why))
        fail_msg("expected '%s' in: %s", why, err.text);
}

static void default_options(void **state)
{
    const struct pv_boot_opts o = {.vsock = true};
    struct pv_machine *m = machine_of(&o, false);

    (void)state;
    assert_int_equal(m->memory, 512 << 20);
    assert_int_equal(m->cpus, 1);
    assert_false(m->kvm);
    assert_false(m->hotplug_port);
    assert_int_equal(m->n_disks, 0);
    pv_machine_free(m);
    m = machine_of(&o, true);
    assert_true(m->hotplug_port);
    pv_machine_free(m);
}

static void bad_options(void **state)
{
    struct pv_guest_disk disk = {.path = (char *)"/nonexistent", .format = (char *)"raw"};
    const struct pv_boot_opts disks = {.disks = &disk, .n_disks = 1}, small = {.memory = 31 << 20};

    (void)state;
    assert_refused(&small, "memory = 31M is too little");
    assert_refused(&disks, "disk '/nonexistent'");
    disk.format = (char *)"vdi";
    assert_refused(&disks, "unknown format 'vdi'");
    disk = (struct pv_guest_disk){.path = (char *)"/dev/null", .format = (char *)"raw"};
    assert_refused(&disks, "neither a file nor a block device");
}

static const char *fsdev_of(const struct pv_machine_arrays *arrays, unsigned slot)
{
    for (size_t i = 0; i + 1 < arrays->args.n; i++)
        if (!strcmp(arrays->args.v[i], "-fsdev") && slot-- == 0)
            return arrays->args.v[i + 1];
    return "";
}

/* Only what the options say is writable is so for QEMU; a copy, for a boot again, is the same. */
static void directories_of_the_host(void **state)
{
    static const struct {
        struct pv_guest_root root;
        const char *first, *second;
    } rows[] = {
        {{.dir = (char *)"/a,b"}, "readonly=on,path=/a,,b", ""},
        {{.dir = (char *)"/", .writable = (char *)"/home"}, "readonly=on,path=/", "readonly=off,path=/home"},
        {{.dir = (char *)"/d", .writable = (char *)"/d"}, "readonly=off,path=/d", ""},
    };
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++) {
        struct pv_machine *m = machine_of(&(struct pv_boot_opts){.root = rows[i].root}, false);
        struct pv_machine *copy = pv_machine_copy(m, &err);

        assert_non_null(copy);
        assert_int_equal(pv_machine_check_savable(m, "vm1", &err), -1);
        assert_non_null(strstr(err.text, "the host's directory"));
        pv_machine_free(m);

        struct pv_vm_spec spec = {.name = "vm1"};
        struct pv_machine_arrays arrays = {0};
        const char *got;

        pv_machine_to_spec(copy, &spec, &arrays);
        assert_int_equal(spec.n_shares, *rows[i].second ? 2 : 1);
        got = strstr(fsdev_of(&arrays, 0), "readonly");
        assert_string_equal(got ? got : "", rows[i].first);
        got = strstr(fsdev_of(&arrays, 1), "readonly");
        assert_string_equal(got ? got : "", rows[i].second);
        pv_machine_arrays_fini(&arrays);
        pv_machine_free(copy);
    }
}

/* By virtiofs QEMU gets a socket in place of the directory, and the daemon maps the guest's memory. */
static void directories_by_virtiofs(void **state)
{
    struct pv_machine *m = machine_of(&(struct pv_boot_opts){.root = {.dir = (char *)"/a"}}, false), *copy;
    struct pv_machine_arrays arrays = {0};
    struct pv_vm_spec spec = {.name = "vm1"};
    cleanup_strv struct pv_strv argv = {0};
    struct pv_err err = PV_ERR_INIT;
    bool device = false, memory = false;

    (void)state;
    m->shares[0].by = PV_SHARE_VIRTIOFS;
    copy = pv_machine_copy(m, &err);
    pv_machine_free(m);
    assert_int_equal(pv_machine_check_savable(copy, "vm1", &err), -1);
    pv_machine_to_spec(copy, &spec, &arrays);
    pv_vm_args(&spec, &argv);
    for (size_t i = 0; i < argv.n; i++) {
        assert_null(strstr(argv.v[i], "/a"));
        device |= !strcmp(argv.v[i], "vhost-user-fs-pci,queue-size=1024,chardev=share0,tag=share0");
        memory |= !strncmp(argv.v[i], "memory-backend-memfd,", 21) && strstr(argv.v[i], "share=on");
    }
    assert_true(device && memory);
    pv_machine_arrays_fini(&arrays);
    pv_machine_free(copy);
}

static void machine_to_command_line(void **state)
{
    struct pv_guest_disk disk = {.path = image, .format = (char *)"raw"};
    const struct pv_boot_opts o = {
        .memory = 64 << 20, .cpus = 3, .disks = &disk, .n_disks = 1, .vsock = true, .keep_disks = true};
    struct pv_machine_arrays arrays = {0};
    struct pv_machine *m = machine_of(&o, true);
    struct pv_vm_spec spec = {0};

    (void)state;
    m->kvm = true;
    pv_machine_to_spec(m, &spec, &arrays);
    assert_int_equal(spec.memory.size, 64 << 20);
    assert_int_equal(spec.cpus, 3);
    assert_true(spec.kvm);
    assert_string_equal(spec.machine_args[0], "-device");
    assert_non_null(strstr(spec.machine_args[1], "pcie-root-port"));
    assert_string_equal(spec.machine_args[3], PV_VM_NIC_BRIDGE);
    assert_null(spec.machine_args[4]);
    assert_int_equal(spec.n_disks, 1);
    assert_string_equal(spec.disks[0].path, image);
    assert_true(spec.disks[0].snapshot);
    assert_false(spec.disks[0].copy_top);
    pv_machine_arrays_fini(&arrays);
    pv_machine_free(m);
}

static const char saved[] =
    "{\"version\":11,\"profile\":\"p\",\"append\":\"quiet\",\"memory\":67108864,"
    "\"cpus\":3,\"kvm\":true,\"no_cx16\":true,\"follow\":true,\"hotplug_port\":true,\"nic_bridge\":true,"
    "\"disks\":[{"
    "\"name\":\"data\",\"plug\":0,\"sector\":512,\"bus\":2,\"path\":\"/d\",\"format\":\"qcow2\","
    "\"readonly\":false,\"snapshot\":true,\"served\":true,\"size\":4096,\"backing\":2}]}";

static void read_back(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_machine *m = pv_machine_from_json(saved, config, &err);
    char *again;

    (void)state;
    if (!m)
        fail_msg("%s", err.text);
    assert_ptr_equal(m->profile, profile);
    assert_int_equal(m->memory, 64 << 20);
    assert_int_equal(m->cpus, 3);
    assert_true(m->kvm);
    assert_true(m->hotplug_port);
    assert_true(m->no_cx16);
    assert_true(m->follow);
    assert_string_equal(m->append, "quiet");
    assert_int_equal(m->n_disks, 1);
    assert_int_equal(m->disks[0].n_backing, 2);
    assert_int_equal(m->disks[0].backing[1], -1);
    assert_true(m->disks[0].served);
    assert_int_equal(m->disks[0].size, 4096);
    assert_int_equal(m->disks[0].top, -1);
    again = pv_machine_to_json(m, &err);
    assert_string_equal(again, saved);
    free(again);
    pv_machine_free(m);
}

/* Damages each member of `saved`: absent, with an invalid value, of another type. */
static void damaged_description(void **state)
{
    static const struct {
        const char *from, *to;
    } edits[] = {
        {"\"version\":11", "\"version\":6"},
        {"\"version\":11,", ""},
        {"\"append\":\"quiet\",", ""},
        {"\"append\":\"quiet\"", "\"append\":1"},
        {"\"follow\":true", "\"follow\":2"},
        {"\"profile\":\"p\"", "\"profile\":1"},
        {"\"memory\":67108864", "\"memory\":0"},
        {"\"memory\":67108864", "\"memory\":\"64M\""},
        {"\"cpus\":3,", ""},
        {"\"cpus\":3", "\"cpus\":1025"},
        {"\"cpus\":3", "\"cpus\":true"},
        {"\"kvm\":true", "\"kvm\":1"},
        {"\"kvm\":true", "\"kvm\":true,\"more\":1"},
        {"\"hotplug_port\":true,", ""},
        {"\"served\":true", "\"served\":1"},
        {"\"served\":true,", ""},
        {"\"size\":4096", "\"size\":-1"},
        {"\"disks\":[", "\"disks\":[1,"},
        {"\"format\":\"qcow2\",", ""},
        {"\"name\":\"data\",", ""},
        {"\"name\":\"data\"", "\"name\":\"123456789012345678901\""},
        {"\"plug\":0", "\"plug\":17"},
        {"\"plug\":0,", ""},
        {"\"sector\":512", "\"sector\":1"},
        {"\"bus\":2", "\"bus\":3"},
        {"\"backing\":2", "\"backing\":65"},
        {"\"backing\":2", "\"backing\":-1"},
        {"]}", "]"},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(edits); i++) {
        const char *at = strstr(saved, edits[i].from);
        struct pv_err err = PV_ERR_INIT;
        char *text;

        assert_non_null(at);
        text = pv_xasprintf("%.*s%s%s", (int)(at - saved), saved, edits[i].to, at + strlen(edits[i].from));
        if (pv_machine_from_json(text, config, &err))
            fail_msg("accepted: %s", text);
        assert_int_equal(err.cls, PV_E_HOST);
        assert_non_null(strstr(err.text, "makes no sense"));
        free(text);
    }
}

static void path_without_utf8(void **state)
{
    cleanup_free char *path = pv_xasprintf("%s-\xff", image);
    struct pv_guest_disk disk = {.path = path, .format = (char *)"raw", .snapshot = true};
    const struct pv_boot_opts o = {.disks = &disk, .n_disks = 1};
    struct pv_err err = PV_ERR_INIT;
    struct pv_machine *m;

    (void)state;
    assert_int_equal(link(image, path), 0);
    m = machine_of(&o, true);
    unlink(path);
    assert_null(pv_machine_to_json(m, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, image));
    assert_non_null(strstr(err.text, "not UTF-8"));
    pv_machine_free(m);
}

static void machine_copy(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_machine *m = pv_machine_from_json(saved, config, &err), *c;

    (void)state;
    assert_non_null(m);
    for (size_t i = 0; i < 2; i++)
        m->disks[0].backing[i] = dup(0);
    m->disks[0].top = dup(0);
    m->initrd = dup(0);
    c = pv_machine_copy(m, &err);
    assert_non_null(c);
    assert_int_equal(c->memory, m->memory);
    assert_true(c->hotplug_port);
    assert_true(c->no_cx16);
    assert_int_equal(c->disks[0].n_backing, 2);
    assert_int_not_equal(c->disks[0].backing[1], m->disks[0].backing[1]);
    assert_int_not_equal(c->disks[0].top, m->disks[0].top);
    assert_string_equal(c->append, "quiet");
    assert_true(c->initrd >= 0 && c->initrd != m->initrd);
    pv_machine_free(c);
    pv_close(&m->disks[0].backing[1]);
    assert_null(pv_machine_copy(m, &err));
    assert_int_equal(err.cls, PV_E_HOST);
    pv_machine_free(m);
}

static int setup(void **state)
{
    char path[] = "/tmp/pv-machine-test-XXXXXX";
    int fd = mkstemp(path), image_fd = mkstemp(image);
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    dprintf(fd, "[profile.p]\nkernel = \"%s\"\ninitrd = \"%s\"\n", image, image);
    close(fd);
    close(image_fd);
    config = pv_config_load(path, NULL, &err);
    unlink(path);
    profile = config ? pv_config_profile(config, "p", &err) : NULL;
    if (!profile)
        fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(image);
    pv_config_free(config);
    return 0;
}

/* accel = "kvm" gets KVM where it runs guests at all; without it nobody gets one that is slow. */
static void who_takes_kvm(void **state)
{
    static const struct pv_accel_probe none = {0}, slow = {.works = true},
                                       fast = {.works = true, .kvm = true};

    (void)state;
    assert_true(pv_takes_kvm(PV_ACCEL_KVM, &slow) && pv_takes_kvm(PV_ACCEL_KVM, &fast));
    assert_false(pv_takes_kvm(PV_ACCEL_KVM, &none));
    assert_true(pv_takes_kvm(PV_ACCEL_AUTO, &fast));
    assert_false(pv_takes_kvm(PV_ACCEL_AUTO, &slow) || pv_takes_kvm(PV_ACCEL_AUTO, &none));
    assert_false(pv_takes_kvm(PV_ACCEL_TCG, &slow) || pv_takes_kvm(PV_ACCEL_TCG, &fast));
}

/* Several CPUs share a thread where they are emulated, whatever says that they are several, unless the profile wants else. */
static void who_shares_a_thread(void **state)
{
    static const struct {
        unsigned cpus;
        enum pv_tcg_thread thread;
        const char *arg;
        bool kvm, one_thread, lossy;
    } rows[] = {
        {1, PV_TCG_THREAD_AUTO, "-snapshot", false, false, false},
        {2, PV_TCG_THREAD_AUTO, "-snapshot", false, true, false},
        {2, PV_TCG_THREAD_SINGLE, "-snapshot", false, true, false},
        {2, PV_TCG_THREAD_MULTI, "-snapshot", false, false, true},
        {2, PV_TCG_THREAD_AUTO, "-snapshot", true, false, false},
        {2, PV_TCG_THREAD_MULTI, "-snapshot", true, false, false},
        {1, PV_TCG_THREAD_AUTO, "-smp", false, true, false},
        {1, PV_TCG_THREAD_AUTO, "--smp", false, true, false},
        {1, PV_TCG_THREAD_MULTI, "--smp", false, false, true},
        {1, PV_TCG_THREAD_MULTI, "-snapshot", false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++) {
        char *arg = (char *)rows[i].arg;
        struct pv_profile p = {.tcg_thread = rows[i].thread, .qemu_args = {.v = &arg, .n = 1}};
        const struct pv_machine m = {.profile = &p, .cpus = rows[i].cpus, .kvm = rows[i].kvm};

        assert_int_equal(pv_emulation_one_thread(&m), rows[i].one_thread);
        assert_int_equal(pv_emulation_is_lossy(&m), rows[i].lossy);
    }
}

/* A kernel that stumbles over cmpxchg16b must not see it on a QEMU that emulates it wrongly. */
static void who_sees_cmpxchg16b(void **state)
{
    static const struct {
        const char *version, *release;
        bool kvm, garbles;
    } rows[] = {
        {"7.2.22", "6.5.0", false, true},  {"7.2.22", "6.4.99", false, false},
        {"7.2.22", "7.0.1", false, true},  {"7.2.22", "5.10.0", false, false},
        {"7.2.22", NULL, false, true},     {"7.2.22", "next", false, true},
        {"7.2.22", "6.12.0", true, false}, {"8.0.0", "6.12.0", false, false},
    };
    char dir[] = "/tmp/pv-machine-test-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++) {
        cleanup_free char *qemu = pv_xasprintf("%s/qemu-%s", dir, rows[i].version);
        struct pv_profile p = {.qemu = qemu};
        const struct pv_machine m = {.profile = &p, .cpus = 1, .kvm = rows[i].kvm};
        int fd = open(qemu, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

        assert_true(dprintf(fd, "#!/bin/sh\necho 'QEMU emulator version %s'\n", rows[i].version) > 0);
        close(fd);
        assert_int_equal(pv_emulation_garbles_flags(&m, rows[i].release), rows[i].garbles);
    }
    pv_rm_rf(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_options),
        cmocka_unit_test(bad_options),
        cmocka_unit_test(directories_of_the_host),
        cmocka_unit_test(directories_by_virtiofs),
        cmocka_unit_test(machine_to_command_line),
        cmocka_unit_test(read_back),
        cmocka_unit_test(damaged_description),
        cmocka_unit_test(path_without_utf8),
        cmocka_unit_test(machine_copy),
        cmocka_unit_test(who_takes_kvm),
        cmocka_unit_test(who_shares_a_thread),
        cmocka_unit_test(who_sees_cmpxchg16b),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

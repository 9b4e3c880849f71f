/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "vm/hotplug.h"
#include "vm/spec.h"

#define SANDBOX "-sandbox\non,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny\n"

/* Compares the whole command line, one argument a line, but for -sandbox, which is last unless unconfined. */
static void args_are(const struct pv_vm_spec *spec, const char *golden)
{
    struct pv_strv argv = {0};
    struct pv_buf b = {0};

    pv_vm_args(spec, &argv);
    for (size_t i = 0; i < argv.n; i++)
        pv_buf_addf(&b, "%s\n", argv.v[i]);
    assert_null(argv.v[argv.n]);
    assert_true(b.len > strlen(SANDBOX));
    assert_string_equal(b.data + b.len - strlen(SANDBOX), SANDBOX);
    b.data[b.len - strlen(SANDBOX)] = '\0';
    if (strcmp(b.data, golden) != 0)
        fail_msg("expected:\n%s\ngot:\n%s", golden, b.data);
    pv_buf_free(&b);
    pv_strv_free(&argv);
}

static void test_plain(void **state)
{
    const struct pv_vm_spec spec = {.name = "vm1",
                                    .kernel = "/k/vmlinux",
                                    .append = "console=ttyS0 a,b",
                                    .initrd_fd = -1,
                                    .memory.size = UINT64_C(512) << 20,
                                    .cpus = 1,
                                    .channel.fd = -1};

    (void)state;
    args_are(&spec, "qemu-system-x86_64\n"
                    "-name\nguest=vm1\n"
                    "-nodefaults\n"
                    "-no-user-config\n"
                    "-display\nnone\n"
                    "-no-reboot\n"
                    "-accel\ntcg,thread=multi,tb-size=256\n"
                    "-machine\nq35,usb=off,vmport=off,smbus=off,sata=off,hpet=off\n"
                    "-m\n512M\n"
                    "-cpu\nmax,erms=off,fsrm=off\n"
                    "-smp\n1\n"
                    "-chardev\nsocket,id=qmp,fd=3\n"
                    "-mon\nchardev=qmp,mode=control\n"
                    "-chardev\nstdio,id=console,signal=off\n"
                    "-device\nisa-serial,chardev=console\n"
                    "-device\npvpanic-pci\n"
                    "-kernel\n/k/vmlinux\n"
                    "-append\nconsole=ttyS0 a,b\n");
}

/* The vCPUs in one thread are a choice of software emulation alone. */
static void test_threads(void **state)
{
    struct pv_vm_spec spec = {
        .initrd_fd = -1, .memory.size = UINT64_C(512) << 20, .cpus = 2, .channel.fd = -1, .one_thread = true};

    (void)state;
    for (int kvm = 0; kvm < 2; kvm++) {
        struct pv_strv argv = {0};
        size_t i = 0;

        spec.kvm = kvm;
        pv_vm_args(&spec, &argv);
        while (i < argv.n && strcmp(argv.v[i], "-accel") != 0)
            i++;
        assert_true(i + 1 < argv.n);
        assert_string_equal(argv.v[i + 1], kvm ? "kvm" : "tcg,thread=single,tb-size=256");
        for (i += 2; i < argv.n; i++) /* a second one would be a choice of QEMU's */
            assert_string_not_equal(argv.v[i], "-accel");
        pv_strv_free(&argv);
    }
}

/* A CPU without cmpxchg16b is a choice of software emulation alone, and the profile's own CPU is left as it is. */
static void test_no_cx16(void **state)
{
    static const struct {
        bool kvm;
        const char *cpu, *want;
    } rows[] = {{false, NULL, "max,erms=off,fsrm=off,cx16=off"}, {true, NULL, "host"}, {false, "max", "max"}};

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++) {
        const struct pv_vm_spec spec = {.initrd_fd = -1,
                                        .memory.size = UINT64_C(512) << 20,
                                        .channel.fd = -1,
                                        .kvm = rows[i].kvm,
                                        .cpu = rows[i].cpu,
                                        .no_cx16 = true};
        struct pv_strv argv = {0};
        size_t at = 0;

        pv_vm_args(&spec, &argv);
        while (at < argv.n && strcmp(argv.v[at], "-cpu") != 0)
            at++;
        assert_true(at + 1 < argv.n);
        assert_string_equal(argv.v[at + 1], rows[i].want);
        pv_strv_free(&argv);
    }
}

static void test_everything(void **state)
{
    static const struct pv_vm_disk disks[] = {
        {.path = "/d/a,b.img", .format = "raw"},
        {.path = "/d/c.qcow2", .format = "qcow2", .readonly = true},
        {.path = "json:{}", .format = "raw", .snapshot = true},
        {.path = "/d/e", .format = "raw", .readonly = true, .snapshot = true},
    };
    static char *const extra[] = {(char *)"-s", (char *)"-device", (char *)"x,y={z}", NULL};
    const struct pv_vm_spec spec = {.name = "a,b {cpu}",
                                    .qemu = "/opt/qemu",
                                    .kernel = "/k,{name}",
                                    .append = "{memory}",
                                    .initrd_fd = 77,
                                    .kvm = true,
                                    .memory.size = (UINT64_C(1) << 30) + 1536,
                                    .cpus = 4,
                                    .disks = disks,
                                    .n_disks = 4,
                                    .channel.kind = PV_CHANNEL_VHOST_USER_VSOCK,
                                    .channel.fd = 78,
                                    .channel.cid = 9,
                                    .extra_args = extra};

    (void)state;
    args_are(&spec, "/opt/qemu\n"
                    "-name\nguest=a,,b {cpu}\n"
                    "-nodefaults\n"
                    "-no-user-config\n"
                    "-display\nnone\n"
                    "-no-reboot\n"
                    "-accel\nkvm\n"
                    "-machine\nq35,usb=off,vmport=off,smbus=off,sata=off,hpet=off,memory-backend=mem\n"
                    "-object\nmemory-backend-memfd,id=mem,size=1048584K,share=on\n"
                    "-m\n1048584K\n"
                    "-cpu\nhost\n"
                    "-smp\n4\n"
                    "-chardev\nsocket,id=qmp,fd=3\n"
                    "-mon\nchardev=qmp,mode=control\n"
                    "-chardev\nstdio,id=console,signal=off\n"
                    "-device\nisa-serial,chardev=console\n"
                    "-device\npvpanic-pci\n"
                    "-kernel\n/k,{name}\n"
                    "-initrd\n/proc/self/fd/6\n"
                    "-append\n{memory}\n"
                    "-chardev\nsocket,id=vsock,fd=5\n"
                    "-device\nvhost-user-vsock-pci,chardev=vsock\n"
                    "-drive\nif=none,id=disk0,file=/d/a,,b.img,format=raw,aio=threads\n"
                    "-device\nvirtio-blk-pci,drive=disk0,werror=report,rerror=report\n"
                    "-drive\nif=none,id=disk1,file=/d/c.qcow2,format=qcow2,aio=threads,readonly=on\n"
                    "-device\nvirtio-blk-pci,drive=disk1,werror=report,rerror=report\n"
                    "-drive\nif=none,id=disk2,file=/proc/self/fd/9,format=qcow2,aio=threads,cache=unsafe,"
                    "backing.driver=raw,backing.file.filename=./json:{}\n"
                    "-device\nvirtio-blk-pci,drive=disk2,werror=report,rerror=report\n"
                    "-drive\nif=none,id=disk3,file=/d/e,format=raw,aio=threads,readonly=on\n"
                    "-device\nvirtio-blk-pci,drive=disk3,werror=report,rerror=report\n"
                    "-s\n-device\nx,y={z}\n");
}

static void test_kernel_vsock_and_own_machine(void **state)
{
    const struct pv_vm_spec spec = {.machine = "pc,hpet=on",
                                    .cpu = "qemu64",
                                    .initrd_fd = -1,
                                    .memory.size = UINT64_C(64) << 20,
                                    .channel.kind = PV_CHANNEL_VHOST_VSOCK,
                                    .channel.fd = 9,
                                    .channel.cid = 4711};

    (void)state;
    args_are(&spec, "qemu-system-x86_64\n"
                    "-nodefaults\n"
                    "-no-user-config\n"
                    "-display\nnone\n"
                    "-no-reboot\n"
                    "-accel\ntcg,thread=multi,tb-size=256\n"
                    "-machine\npc,hpet=on\n"
                    "-m\n64M\n"
                    "-cpu\nqemu64\n"
                    "-smp\n1\n"
                    "-chardev\nsocket,id=qmp,fd=3\n"
                    "-mon\nchardev=qmp,mode=control\n"
                    "-chardev\nstdio,id=console,signal=off\n"
                    "-device\nisa-serial,chardev=console\n"
                    "-device\npvpanic-pci\n"
                    "-device\nvhost-vsock-pci,vhostfd=5,guest-cid=4711\n");
}

/* An incoming VM, without and with an option of its machine. */
static void test_machine_args(void **state)
{
    struct pv_vm_spec spec = {.initrd_fd = -1,
                              .memory = {UINT64_C(64) << 20, PV_VM_MEMORY_SHARED, 8},
                              .state = {.savable = true, .incoming = true},
                              .channel.kind = PV_CHANNEL_SERIAL,
                              .channel.fd = 9};
    static char *const port[] = {(char *)"-device", (char *)PV_VM_HOTPLUG_DEVICE, NULL};
    static const char head[] =
        "qemu-system-x86_64\n"
        "-nodefaults\n"
        "-no-user-config\n"
        "-display\nnone\n"
        "-no-reboot\n"
        "-accel\ntcg,thread=multi,tb-size=256\n"
        "-machine\nq35,usb=off,vmport=off,smbus=off,sata=off,hpet=off,memory-backend=mem\n"
        "-object\nmemory-backend-file,id=mem,size=64M,mem-path=/proc/self/fd/32,share=on\n"
        "-m\n64M\n"
        "-cpu\nmax,erms=off,fsrm=off\n"
        "-smp\n1\n"
        "-chardev\nsocket,id=qmp,fd=3\n"
        "-mon\nchardev=qmp,mode=control\n"
        "-chardev\nstdio,id=console,signal=off\n"
        "-device\nisa-serial,chardev=console\n"
        "-device\npvpanic-pci\n"
        "-S\n"
        "-incoming\ndefer\n"
        "-chardev\nsocket,id=agent,fd=5\n"
        "-device\nvirtio-serial-pci,id=vserial,max_ports=2,ioeventfd=off\n"
        "-device\nvirtserialport,bus=vserial.0,chardev=agent,name=provium.agent,id=agent\n";
    char with[sizeof(head) + 64];

    (void)state;
    args_are(&spec, head);
    spec.memory.read_only = true; /* of no meaning for a shared one */
    args_are(&spec, head);
    spec.machine_args = port;
    snprintf(with, sizeof(with), "%s-device\npcie-root-port,id=vsockport,chassis=200\n", head);
    args_are(&spec, with);
}

/* A saved memory: QEMU maps it privately, and opens it for reading only if it can. */
static void test_private_memory(void **state)
{
    struct pv_vm_spec spec = {.name = "x",
                              .initrd_fd = -1,
                              .memory = {.size = 64 << 20, .kind = PV_VM_MEMORY_PRIVATE, .fd = 9},
                              .channel.kind = PV_CHANNEL_SERIAL};
    static const char *const want[] = {"share=off", "share=off,readonly=on,rom=off"};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        cleanup_strv struct pv_strv argv = {0};
        bool found = false;

        spec.memory.read_only = i == 1;
        pv_vm_args(&spec, &argv);
        for (size_t j = 0; j < argv.n; j++) {
            const char *share = strstr(argv.v[j], "share=");

            found = found || (share && !strcmp(share, want[i]));
        }
        assert_true(found);
    }
}

static void test_kernel_args(void **state)
{
    char *s = pv_vm_kernel_args(false, 2596136, "/wrapper", "/sbin/init", "quiet=no a=1", "a=2");

    (void)state;
    assert_string_equal(s, "console=ttyS0 quiet loglevel=5 panic=-1 no_timer_check cryptomgr.notests "
                           "random.trust_cpu=on 8250.nr_uarts=1 i8042.noaux i8042.nokbd "
                           "tsc_early_khz=2596136 tsc=reliable rdinit=/wrapper provium.init=/sbin/init "
                           "quiet=no a=1 a=2");
    free(s);
    s = pv_vm_kernel_args(false, 0, NULL, NULL, "", NULL);
    assert_null(strstr(s, "tsc"));
    assert_null(strstr(s, "rdinit"));
    assert_true(s[strlen(s) - 1] != ' ');
    free(s);
    s = pv_vm_kernel_args(true, 2596136, NULL, "/i", NULL, "x");
    assert_null(strstr(s, "tsc"));
    assert_non_null(strstr(s, " provium.init=/i x"));
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_cx16),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_kernel_vsock_and_own_machine),
        cmocka_unit_test(test_machine_args),
        cmocka_unit_test(test_private_memory),
        cmocka_unit_test(test_kernel_args),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

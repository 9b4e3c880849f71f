/* SPDX-License-Identifier: MIT */
/* A real QEMU with the default guest's kernel and no init: every boot ends in a panic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/path.h"
#include "vm/accel.h"
#include "vm/version.h"
#include "vm/vm-test.h"

enum { BOOT_MS = 60000 };

static char dir[] = "/tmp/provium-vm-kernel-test-XXXXXX";
static char *kernel;
static struct pv_accel_probe accel;

static int setup(void **state)
{
    (void)state;
    pv_accel_probe_now(&accel);
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return pv_rm_rf(dir);
}

static struct pv_vm_spec kernel_spec(char **append, const char *more)
{
    struct pv_vm_spec spec = plain_spec();

    *append = pv_vm_kernel_args(accel.kvm, accel.tsc_khz, NULL, "/sbin/init", "", more);
    spec.kvm = accel.kvm;
    spec.kernel = kernel;
    spec.append = *append;
    return spec;
}

/* panic=-1 and -no-reboot: QEMU exits; the reason is the panic's text, not the exit. */
static void test_panic_at_boot(void **state)
{
    cleanup_free char *log = pv_path_join(dir, "panic.log"), *append = NULL;
    struct pv_vm_spec spec = kernel_spec(&append, NULL);
    struct pv_buf text = {0};
    int64_t seen;
    struct run r;

    (void)state;
    run_start(&r, &spec, log);
    assert_true(run_until(&r, run_panicked, BOOT_MS));
    seen = pv_now();
    assert_true(run_until(&r, run_ended, 2000));
    print_message("noticed %.1f ms after the panic's text: %s\n", (double)(pv_now() - seen) / 1e6,
                  pv_vm_end_reason(r.vm));
    assert_int_equal(r.ends, 1);
    assert_non_null(strstr(pv_vm_end_reason(r.vm), "the guest's kernel panicked: VFS: Unable to mount root"));
    assert_false(pv_vm_guest_powered_off(r.vm));
    pv_console_tail(pv_vm_console(r.vm), 20, &text);
    assert_non_null(strstr(text.data, "Kernel panic - not syncing"));
    pv_buf_free(&text);
    run_stop(&r);
    assert_int_equal(pv_read_file(log, 1 << 20, &text, NULL), 0);
    assert_non_null(strstr(text.data, "Kernel panic - not syncing"));
    pv_buf_free(&text);
}

/* panic=0: the kernel halts and QEMU stays; the VM is declared dead. */
static void test_panic_that_stays(void **state)
{
    cleanup_free char *append = NULL;
    struct pv_vm_spec spec = kernel_spec(&append, "panic=0");
    int64_t seen;
    struct run r;

    (void)state;
    run_start(&r, &spec, NULL);
    assert_true(run_until(&r, run_panicked, BOOT_MS));
    seen = pv_now();
    assert_true(run_until(&r, run_ended, 2000));
    assert_true(pv_now() - seen >= 450 * PV_NSEC_PER_MSEC);
    assert_int_equal(r.ends, 1);
    assert_non_null(strstr(pv_vm_end_reason(r.vm), "the guest's kernel panicked: "));
    assert_int_equal(kill(pv_vm_pid(r.vm), 0), 0); /* QEMU still runs */
    pv_vm_kill(r.vm);
    assert_int_equal(kill(pv_vm_pid(r.vm), 0), -1);
    assert_int_equal(r.ends, 1);
    assert_non_null(strstr(pv_vm_end_reason(r.vm), "the guest's kernel panicked: "));
    run_stop(&r);
}

/* -no-shutdown: QEMU stays after the guest's power-off, and the VM has ended. */
static void test_no_shutdown(void **state)
{
    static char *const stay[] = {(char *)"-no-shutdown", NULL};
    cleanup_free char *append = NULL;
    struct pv_vm_spec spec = kernel_spec(&append, NULL);
    struct run r;

    (void)state;
    spec.extra_args = stay;
    for (int i = 0; i < 2; i++) {
        run_start(&r, &spec, NULL);
        r.kill_at_end = i == 1;
        assert_true(run_until(&r, run_panicked, BOOT_MS));
        assert_true(run_until(&r, run_ended, 2000));
        assert_int_equal(r.ends, 1);
        assert_non_null(strstr(pv_vm_end_reason(r.vm), "the guest's kernel panicked: "));
        assert_int_equal(kill(pv_vm_pid(r.vm), 0), i == 0 ? 0 : -1);
        run_stop(&r);
    }
}

/* A sign of life from the agent withdraws the panic hints. */
static void test_false_alarm(void **state)
{
    cleanup_free char *append = NULL;
    struct pv_vm_spec spec = kernel_spec(&append, "panic=0");
    struct run r;

    (void)state;
    run_start(&r, &spec, NULL);
    assert_true(run_until(&r, run_panicked, BOOT_MS));
    pv_vm_alive_hint(r.vm); /* too early to count: the agent may have sent its bytes before the panic */
    assert_true(run_panicked(&r));
    assert_false(run_until(&r, run_ended, 200));
    pv_vm_alive_hint(r.vm);
    assert_false(run_panicked(&r));
    assert_false(run_until(&r, run_ended, 1500));
    assert_int_equal(r.ends, 0);
    pv_vm_kill(r.vm);
    assert_string_equal(pv_vm_end_reason(r.vm), "it was killed");
    run_stop(&r);
}

/* ---- an init of a few instructions ---- */

static void put_le(struct pv_buf *b, uint64_t v, size_t n)
{
    pv_buf_add(b, &v, n); /* little-endian, as the guest is */
}

/* An ELF file that writes `text` to its stdout and then asks reboot(2) for `how`, for ever. */
static void make_init(struct pv_buf *b, const char *text, uint32_t how)
{
    const uint64_t base = 0x400000, code = 64 + 56, code_len = 46;

    pv_buf_add(b, "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0", 16);
    put_le(b, 2 | 62 << 16, 4); /* ET_EXEC, EM_X86_64 */
    put_le(b, 1, 4);
    put_le(b, base + code, 8); /* entry */
    put_le(b, 64, 8);          /* program headers */
    put_le(b, 0, 8);
    put_le(b, 0, 4);
    put_le(b, 64, 2);
    put_le(b, 56, 2);
    put_le(b, 1, 2);
    put_le(b, 0, 6);
    put_le(b, 1, 4); /* PT_LOAD, read and execute */
    put_le(b, 5, 4);
    put_le(b, 0, 8);
    put_le(b, base, 8);
    put_le(b, base, 8);
    put_le(b, code + code_len + strlen(text), 8);
    put_le(b, code + code_len + strlen(text), 8);
    put_le(b, 4096, 8);
    pv_buf_add(b, "\xb8\1\0\0\0\xbf\1\0\0\0\xbe", 11); /* eax = write, edi = 1, esi = text */
    put_le(b, base + code + code_len, 4);
    pv_buf_addc(b, '\xba'); /* edx = its length */
    put_le(b, strlen(text), 4);
    pv_buf_add(b, "\x0f\x05\xb8\xa9\0\0\0\xbf", 8); /* syscall; eax = reboot, edi = magic 1 */
    put_le(b, 0xfee1dead, 4);
    pv_buf_addc(b, '\xbe'); /* esi = magic 2 */
    put_le(b, 672274793, 4);
    pv_buf_addc(b, '\xba'); /* edx = how */
    put_le(b, how, 4);
    pv_buf_add(b, "\x0f\x05\xeb\xfe", 4); /* syscall; jmp to itself */
    assert_int_equal(b->len, code + code_len);
    pv_buf_adds(b, text);
}

static void add_entry(struct pv_buf *b, const char *name, unsigned mode, const void *data, size_t n)
{
    pv_buf_addf(b, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x%s", 0, mode, 0, 0, 1, 0, n,
                0, 0, 0, 0, strlen(name) + 1, 0, name);
    do
        pv_buf_addc(b, 0);
    while (b->len % 4);
    pv_buf_add(b, data, n);
    while (b->len % 4)
        pv_buf_addc(b, 0);
}

/* Boots an init that writes `text` and calls reboot(2) with `how`, and waits for the VM's end. */
static void run_init(struct run *r, const char *text, uint32_t how)
{
    cleanup_free char *append = NULL;
    cleanup_buf struct pv_buf init = {0}, archive = {0};
    struct pv_vm_spec spec = kernel_spec(&append, "rdinit=/init");

    make_init(&init, text, how);
    add_entry(&archive, "dev", 0040755, "", 0);
    add_entry(&archive, "init", 0100755, init.data, init.len);
    add_entry(&archive, "TRAILER!!!", 0, "", 0);
    spec.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
    assert_int_equal(pv_write_all(spec.initrd_fd, archive.data, archive.len), 0);
    spec.fatal_mark = "fatal mark: ";
    run_start(r, &spec, NULL);
    close(spec.initrd_fd);
    assert_true(run_until(r, run_ended, BOOT_MS));
    assert_int_equal(r->ends, 1);
}

static void test_guest_goes_down(void **state)
{
    struct pv_buf tail = {0};
    struct run r;

    (void)state;
    run_init(&r, "hello from init\n", 0x4321fedc); /* LINUX_REBOOT_CMD_POWER_OFF */
    assert_string_equal(pv_vm_end_reason(r.vm), "the guest powered off");
    assert_true(pv_vm_guest_powered_off(r.vm));
    pv_console_tail(pv_vm_console(r.vm), 20, &tail);
    assert_non_null(strstr(tail.data, "hello from init\n"));
    pv_buf_free(&tail);
    run_stop(&r);

    run_init(&r, "", 0x01234567); /* LINUX_REBOOT_CMD_RESTART */
    assert_string_equal(pv_vm_end_reason(r.vm), "the guest rebooted");
    assert_true(pv_vm_guest_powered_off(r.vm));
    run_stop(&r);

    run_init(&r, "fatal mark: no \033[31minit\n", 0x01234567);
    assert_string_equal(pv_vm_end_reason(r.vm), "no init");
    assert_false(pv_vm_guest_powered_off(r.vm));
    run_stop(&r);
}

/* CPUs, memory, the initramfs by descriptor and the command line reach the kernel. */
static void test_what_the_kernel_sees(void **state)
{
    cleanup_buf struct pv_buf archive = {0};
    cleanup_free char *append = NULL, *log = pv_path_join(dir, "sees.log");
    struct pv_vm_spec spec = kernel_spec(&append, "loglevel=8 marker.of=this_test");
    struct pv_buf text = {0};
    struct run r;

    (void)state;
    spec.cpus = 2;
    spec.memory.size = UINT64_C(300) << 20;
    add_entry(&archive, "TRAILER!!!", 0, "", 0);
    spec.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
    assert_int_equal(pv_write_all(spec.initrd_fd, archive.data, archive.len), 0);
    run_start(&r, &spec, log);
    close(spec.initrd_fd);
    assert_true(run_until(&r, run_ended, BOOT_MS));
    run_stop(&r);
    assert_int_equal(pv_read_file(log, 1 << 20, &text, NULL), 0);
    assert_non_null(strstr(text.data, "marker.of=this_test"));
    assert_non_null(strstr(text.data, "1 node, 2 CPUs"));
    assert_non_null(strstr(text.data, "rootfs image as initramfs"));
    assert_non_null(strstr(text.data, "-0x0000000012bfffff]")); /* e820: it ends at 300 MiB */
    assert_null(strstr(text.data, "Initramfs unpacking failed"));
    pv_buf_free(&text);
}

/* The end of a QEMU that is killed during the boot is noticed, with the console so far. */
static void test_killed_during_boot(void **state)
{
    cleanup_free char *append = NULL;
    /* A boot that stays at its last line: the console keeps 64 of them, and a busy host looks at it late. */
    struct pv_vm_spec spec = kernel_spec(&append, "loglevel=8 root=/dev/none rootwait");
    struct pv_buf text = {0};
    struct run r;

    (void)state;
    run_start(&r, &spec, NULL);
    for (int i = 0; i < BOOT_MS / 20 && !(text.data && strstr(text.data, "Waiting for root device")); i++) {
        assert_false(run_until(&r, run_ended, 20));
        pv_buf_free(&text);
        pv_console_tail(pv_vm_console(r.vm), 64, &text);
    }
    assert_non_null(text.data);
    assert_non_null(strstr(text.data, "Waiting for root device"));
    kill(pv_vm_pid(r.vm), SIGKILL);
    assert_true(run_until(&r, run_ended, BOOT_MS));
    assert_string_equal(pv_vm_end_reason(r.vm), "QEMU was killed by SIGKILL");
    pv_buf_free(&text);
    run_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_panic_at_boot),        cmocka_unit_test(test_panic_that_stays),
        cmocka_unit_test(test_false_alarm),          cmocka_unit_test(test_no_shutdown),
        cmocka_unit_test(test_what_the_kernel_sees), cmocka_unit_test(test_killed_during_boot),
        cmocka_unit_test(test_guest_goes_down),
    };
    const char *guest = getenv("PROVIUM_GUEST_DIR");
    char *version = pv_qemu_version(NULL, NULL);
    int r;

    kernel = guest && *guest ? pv_path_join(guest, "vmlinuz") : NULL;
    if (!version || !kernel || access(kernel, R_OK) < 0) {
        printf("skipped: %s\n",
               version ? "no kernel: PROVIUM_GUEST_DIR/vmlinuz cannot be read" : "no qemu-system-x86_64");
        free(version);
        free(kernel);
        return 77;
    }
    free(version);
    r = cmocka_run_group_tests(tests, setup, teardown);
    free(kernel);
    return r;
}

/* SPDX-License-Identifier: MIT */
/* A core against a scripted monitor: which format is asked for, and each way in which there is none in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/mem.h"
#include "util/path.h"
#include "vm/console.h"
#include "vm/internal.h"
#include "vm/qmp.h"

#define KDUMP "{\"return\": {\"formats\": [\"elf\", \"kdump-zlib\", \"kdump-snappy\"]}, \"id\": 2}\n"
#define NO_COMMAND "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no\"}, \"id\": 2}\n"
#define STARTED "{\"return\": {}, \"id\": 3}\n"
#define REFUSED "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 3}\n"
#define COMPLETED "{\"event\": \"DUMP_COMPLETED\", \"data\": {\"result\": {\"status\": \"completed\"}}}\n"
#define FAILED \
    "{\"event\": \"DUMP_COMPLETED\", \"data\": {\"result\": {\"status\": \"failed\"}, \"error\": \"no " \
    "memory\"}}\n"

struct bench {
    struct pv_loop *loop;
    struct pv_vm vm;
    int peer, pipe; /* QEMU's ends */
    int target;     /* what `open` returns */
    int opened, done;
    bool ended; /* dead_timer was armed again */
    char format[32], failure[256];
};

static void on_event(void *arg, const char *event, const json_t *data)
{
    assert_string_equal(event, "DUMP_COMPLETED");
    pv_vm_core_completed(arg, data);
}

static int bench_open(void *arg)
{
    struct bench *b = arg;

    b->opened++;
    return b->target < 0 ? -1 : dup(b->target);
}

static void bench_done(const char *format, const char *failure, void *arg)
{
    struct bench *b = arg;

    b->done++;
    snprintf(b->format, sizeof(b->format), "%s", format ? format : "");
    snprintf(b->failure, sizeof(b->failure), "%s", failure ? failure : "");
}

static void bench_ended(struct pv_timer *t)
{
    PV_CONTAINER_OF(t, struct bench, vm.hints.dead_timer)->ended = true;
}

static bool monitor_is_ready(void *arg)
{
    return pv_qmp_was_ready(arg);
}

static void say(const struct bench *b, const char *text)
{
    assert_int_equal(pv_write_all(b->peer, text, strlen(text)), 0);
}

/* Lets what has been said arrive. */
static void settle(struct bench *b)
{
    assert_true(pv_loop_run(b->loop, NULL, NULL, pv_deadline(20 * PV_NSEC_PER_MSEC), NULL) >= 0);
}

/* The next command that QEMU gets has this text; then it says something. */
static void heard(struct bench *b, const char *text, const char *answer)
{
    char line[1024] = "";
    ssize_t n;

    settle(b);
    n = recv(b->peer, line, sizeof(line) - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    assert_non_null(strstr(line, text));
    say(b, answer);
    settle(b);
}

static void bench_begin(struct bench *b, int target)
{
    static const struct pv_vm_core_ops ops = {bench_open, bench_done};
    char line[256];
    int fds[2];

    memset(b, 0, sizeof(*b));
    b->loop = pv_loop_new(NULL);
    b->target = target;
    b->vm = (struct pv_vm){
        .loop = b->loop, .console = {.fd = -1}, .core = {.pipe = -1, .fd = -1, .watch = {.fd = -1}}};
    b->vm.console.text = pv_console_new(NULL, NULL);
    b->vm.hints.dead_timer.fn = bench_ended;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    b->peer = fds[1];
    b->vm.qmp = pv_qmp_take_fd(b->loop, fds[0], on_event, &b->vm, NULL);
    b->pipe = pv_vm_core_pipe(&b->vm, NULL);
    assert_true(b->pipe >= 0);
    pv_vm_on_core(&b->vm, &ops, b);
    say(b, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n{\"return\": {}, \"id\": 1}\n");
    assert_int_equal(
        pv_loop_run(b->loop, monitor_is_ready, b->vm.qmp, pv_deadline(5 * PV_NSEC_PER_SEC), NULL), 0);
    settle(b);
    assert_true(recv(b->peer, line, sizeof(line), MSG_DONTWAIT) > 0); /* qmp_capabilities */
}

static void bench_end(struct bench *b)
{
    pv_vm_core_end(&b->vm);
    assert_int_equal(b->vm.core.pipe, -1);
    assert_int_equal(b->done, b->target < 0 ? 0 : b->opened);
    pv_timer_cancel(b->loop, &b->vm.hints.dead_timer);
    pv_qmp_free(b->vm.qmp);
    pv_console_free(b->vm.console.text);
    close(b->peer);
    close(b->pipe);
    if (b->target >= 0)
        close(b->target);
    pv_loop_free(b->loop);
}

/* A panic's core: QEMU has been asked for it, and replies. */
static void bench_panic(struct bench *b, const char *reply)
{
    b->vm.end.panic_event = true;
    assert_true(pv_vm_core_before_end(&b->vm));
    heard(b, "query-dump", KDUMP);
    heard(b, "dump-guest-memory", reply);
}

static int file_new(void)
{
    int fd = memfd_create("core", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void test_kdump_at_a_panic(void **state)
{
    char text[16] = "";
    struct bench b;

    (void)state;
    bench_begin(&b, file_new());
    assert_false(pv_vm_core_before_end(&b.vm)); /* no panic */
    b.vm.end.panic_event = true;
    assert_true(pv_vm_core_before_end(&b.vm));
    assert_true(pv_vm_core_began(&b.vm));
    heard(&b, "query-dump-guest-memory-capability", KDUMP);
    heard(&b, "kdump-zlib", STARTED);
    assert_int_equal(pv_write_all(b.pipe, "core", 4), 0);
    settle(&b);
    assert_int_equal(pv_write_all(b.pipe, "dump", 4), 0);
    say(&b, COMPLETED);
    settle(&b);
    assert_int_equal(b.done, 1);
    assert_string_equal(b.failure, "");
    assert_string_equal(b.format, "kdump-zlib");
    assert_int_equal(pread(b.target, text, sizeof(text), 0), 8);
    assert_string_equal(text, "coredump");
    assert_true(b.ended);
    assert_false(pv_vm_core_before_end(&b.vm)); /* it may end now */
    bench_end(&b);
}

static void test_elf_without_the_command(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b, file_new());
    pv_vm_core(&b.vm);
    assert_true(pv_vm_core_began(&b.vm)); /* who ends the VM waits for it */
    heard(&b, "query-dump", NO_COMMAND);
    heard(&b, "\"elf\"", STARTED);
    assert_int_equal(pv_write_all(b.pipe, "x", 1), 0);
    say(&b, COMPLETED);
    settle(&b);
    assert_string_equal(b.format, "elf");
    assert_string_equal(b.failure, "");
    assert_false(b.ended); /* it runs on */
    pv_vm_core(&b.vm);     /* one is enough */
    settle(&b);
    assert_int_equal(b.opened, 1);
    bench_end(&b);
}

/* A core of a VM that ran on, which panics meanwhile: the VM ends behind that core. */
static void test_panic_meanwhile(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b, file_new());
    pv_vm_core(&b.vm);
    heard(&b, "query-dump", KDUMP);
    b.vm.end.panic_event = true;
    assert_true(pv_vm_core_before_end(&b.vm));
    heard(&b, "dump-guest-memory", STARTED);
    say(&b, FAILED);
    settle(&b);
    assert_string_equal(b.failure, "QEMU has given up: no memory");
    assert_true(b.ended);
    bench_end(&b);
}

static void test_failures(void **state)
{
    struct bench b;

    (void)state;
    bench_begin(&b, file_new());
    bench_panic(&b, REFUSED);
    assert_string_equal(b.failure, "QEMU refuses dump-guest-memory");
    assert_true(b.ended);
    bench_end(&b);

    bench_begin(&b, file_new()); /* QEMU dies */
    b.vm.end.panic_event = true;
    assert_true(pv_vm_core_before_end(&b.vm));
    heard(&b, "query-dump", KDUMP);
    pv_vm_core_end(&b.vm);
    assert_string_equal(b.failure, "its QEMU has ended");
    bench_end(&b);

    bench_begin(&b, open("/dev/full", O_WRONLY | O_CLOEXEC));
    pv_vm_core(&b.vm);
    heard(&b, "query-dump", KDUMP);
    heard(&b, "dump-guest-memory", STARTED);
    assert_int_equal(pv_write_all(b.pipe, "core", 4), 0);
    settle(&b);
    assert_string_equal(b.failure, "it cannot be written: No space left on device");
    say(&b, FAILED); /* of the broken pipe, which is no news */
    settle(&b);
    assert_int_equal(b.done, 1);
    bench_end(&b);

    bench_begin(&b, -1); /* none is wanted */
    b.vm.end.panic_event = true;
    assert_false(pv_vm_core_before_end(&b.vm));
    assert_int_equal(b.opened, 1);
    bench_end(&b);
}

/* The deadline is moved to now, and 8 GiB less two bytes are taken for written. */
static void test_limits(void **state)
{
    char text[8];
    struct bench b;

    (void)state;
    bench_begin(&b, file_new());
    bench_panic(&b, STARTED);
    assert_int_equal(b.done, 0);
    pv_timer_arm(b.loop, &b.vm.core.deadline, pv_now());
    settle(&b);
    assert_string_equal(b.failure, "QEMU was not done within 60 s");
    assert_true(b.ended);
    assert_int_equal(write(b.pipe, "late", 4), -1); /* QEMU gives the dump up */
    bench_end(&b);

    bench_begin(&b, file_new());
    pv_vm_core(&b.vm);
    heard(&b, "query-dump", KDUMP);
    heard(&b, "dump-guest-memory", STARTED);
    b.vm.core.size = (UINT64_C(8) << 30) - 2;
    assert_int_equal(pv_write_all(b.pipe, "co", 2), 0);
    settle(&b);
    assert_int_equal(b.done, 0);
    assert_int_equal(pv_write_all(b.pipe, "re", 2), 0);
    settle(&b);
    assert_string_equal(b.failure, "it is larger than 8 GiB, the limit of a core");
    assert_int_equal(pread(b.target, text, sizeof(text), 0), 2); /* nothing is written beyond it */
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kdump_at_a_panic), cmocka_unit_test(test_elf_without_the_command),
        cmocka_unit_test(test_panic_meanwhile),  cmocka_unit_test(test_failures),
        cmocka_unit_test(test_limits),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

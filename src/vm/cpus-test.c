/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <string.h>

#include "util/mem.h"
#include "vm/cpus.h"

enum { OFF = 0x46, ON = 0x246 };

/* Adds the print of one CPU, as QEMU's monitor shows it. */
static void cpu_put(struct pv_buf *b, int cpu, uint64_t rcx, uint64_t ip, unsigned flags, int halted)
{
    pv_buf_addf(
        b,
        "CPU#%d\r\nRAX=0000000000000000 RBX=ffffc900004639d8 RCX=%016" PRIx64
        " RDX=0000000000000002\r\nRIP=%016" PRIx64
        " RFL=%08x [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=%d\r\nES =0000 0000000000000000 00000000\r\n\r\n",
        cpu, rcx, ip, flags, halted);
}

static bool add_one(struct pv_cpus *c, uint64_t rcx, uint64_t ip, unsigned flags, int halted)
{
    cleanup_buf struct pv_buf b = {0};

    cpu_put(&b, 0, rcx, ip, flags, halted);
    return pv_cpus_add(c, b.data);
}

/* Two CPUs in a cycle of twelve and ten places each, as in an endless int3. */
static void test_spinning(void **state)
{
    struct pv_cpus c = {0};
    cleanup_buf struct pv_buf places = {0};

    (void)state;
    for (unsigned i = 0; i < PV_CPUS_ENOUGH; i++) {
        cleanup_buf struct pv_buf b = {0};

        assert_int_equal(pv_cpus_judge(&c), PV_CPUS_UNKNOWN);
        cpu_put(&b, 0, i * 5 % 12, UINT64_C(0xffffffff81a04f00) + i * 5 % 12, OFF, 0);
        cpu_put(&b, 1, i * 7 % 10, UINT64_C(0xffffffff81c01100) + i * 7 % 10, OFF, 0);
        assert_true(pv_cpus_add(&c, b.data));
    }
    assert_int_equal(pv_cpus_judge(&c), PV_CPUS_SPINNING);
    pv_cpus_places(&c, &places);
    assert_string_equal(places.data, "CPU 0 at ffffffff81a04f07, CPU 1 at ffffffff81c01101");
    pv_cpus_fini(&c);
}

/* One instruction, but a counter runs: memset, decompression. */
static void test_advancing(void **state)
{
    struct pv_cpus c = {0};

    (void)state;
    for (unsigned i = 0; i < PV_CPUS_SAMPLES; i++)
        assert_true(add_one(&c, i, 0x100000, OFF, 0));
    assert_int_equal(pv_cpus_judge(&c), PV_CPUS_UNKNOWN);
    assert_false(add_one(&c, 0, 0x100000, OFF, 0)); /* the window is full */
    pv_cpus_fini(&c);
}

static void test_halted(void **state)
{
    struct pv_cpus c = {0};

    (void)state;
    for (unsigned i = 0; i < PV_CPUS_ENOUGH; i++)
        assert_true(add_one(&c, 0, 0x100000, 2, 1));
    assert_int_equal(pv_cpus_judge(&c), PV_CPUS_HALTED);
    pv_cpus_fini(&c);
}

/* An idle CPU waits for an interrupt, and a CPU that was not started is no reason to wait for nothing. */
static void test_idle(void **state)
{
    struct pv_cpus c = {0};
    cleanup_buf struct pv_buf b = {0};

    (void)state;
    assert_false(add_one(&c, 0, 0x100000, ON, 1));
    pv_cpus_fini(&c);
    cpu_put(&b, 0, 0, 0x100000, ON, 1);
    cpu_put(&b, 1, 0, 0xfff0, 2, 1);
    assert_false(pv_cpus_add(&c, b.data));
    pv_cpus_fini(&c);
}

static void test_hostile(void **state)
{
    static const char *const bad[] = {
        "",
        "CPU#0\r\n",
        "CPU#0 CPU#1 CPU#",
        "RIP=1 RFL=2 HLT=0",
        "CPU#0\r\nRIP=0000 HLT=0",
        "CPU#0\r\nRIP=0000 RFL=2",
        "CPU#0\r\nRIP=0 RFL=2 HLT=1\r\nCPU#1\r\n",
        "CPU#0 HLT=0\r\nCPU#1 RIP=0 RFL=2",
    };
    struct pv_cpus c = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(pv_cpus_add(&c, bad[i]));
        pv_cpus_fini(&c);
    }
    /* Another number of CPUs in the middle of a window. */
    for (int more = 0; more < 2; more++) {
        cleanup_buf struct pv_buf b = {0};

        for (int i = 0; i < 2; i++)
            cpu_put(&b, i, 0, 1, OFF, 0);
        assert_true(pv_cpus_add(&c, b.data));
        if (more) {
            cpu_put(&b, 2, 0, 1, OFF, 0);
            assert_false(pv_cpus_add(&c, b.data));
        } else {
            assert_false(add_one(&c, 0, 1, OFF, 0));
        }
        pv_cpus_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spinning), cmocka_unit_test(test_advancing), cmocka_unit_test(test_halted),
        cmocka_unit_test(test_idle),     cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

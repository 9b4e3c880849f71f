/* SPDX-License-Identifier: MIT */
/* Which keys of a profile are inputs of a fixture: each changes the description that its key is made from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "guest/env.h"
#include "guest/guest.h"
#include "util/mem.h"

static struct pv_profile p;

static char *describe(void)
{
    struct pv_guest_host host = {.accel = PV_ACCEL_TCG};
    struct pv_buf text = {0};

    pv_guest_describe(&host, &p, &text);
    return text.data;
}

/* The profile's text with one member changed for the moment. */
static char *describe_changed(size_t offset, size_t size, const void *value)
{
    unsigned char was[sizeof(p)];
    char *text;

    memcpy(was, (char *)&p + offset, size);
    memcpy((char *)&p + offset, value, size);
    text = describe();
    memcpy((char *)&p + offset, was, size);
    return text;
}

#define MEMBER(name, value) \
    { \
#name, offsetof(struct pv_profile, name), sizeof(p.name), &(__typeof__(p.name)) \
        { \
            value \
        } \
    }

struct change {
    const char *name;
    size_t offset, size;
    const void *value;
};

static void set_up_profile(void)
{
    static char name[] = "a", kernel[] = "/k", initrd[] = "/i", init[] = "/sbin/init", append[] = "";

    p = (struct pv_profile){.name = name, .kernel = kernel, .initrd = initrd, .init = init, .append = append};
}

/* input: each of them changes the text; else none does. */
static void check_changes(const struct change *changes, size_t n, bool input)
{
    cleanup_free char *base = NULL;

    set_up_profile();
    base = describe();
    for (size_t i = 0; i < n; i++) {
        const struct change *c = &changes[i];
        cleanup_free char *text = describe_changed(c->offset, c->size, c->value);

        if ((strcmp(text, base) != 0) != input)
            fail_msg("'%s' is %s input of a fixture:\n%s\n%s", c->name, input ? "no" : "an", text, base);
    }
}

static void each_key_that_the_guest_sees_is_one(void **state)
{
    static char other[] = "/other";
    const struct change changes[] = {
        MEMBER(kernel, other),
        MEMBER(initrd, other),
        MEMBER(rootfs, other),
        MEMBER(rootfs_format, other),
        MEMBER(root, other),
        MEMBER(rootflags, other),
        MEMBER(init, other),
        MEMBER(init_set, true),
        MEMBER(append, other),
        MEMBER(modules, other),
        MEMBER(machine, other),
        MEMBER(cpu, other),
        MEMBER(switch_root, PV_SWITCH_ROOT_YES),
        MEMBER(tcg_thread, PV_TCG_THREAD_SINGLE),
        MEMBER(wait_system, true),
    };

    (void)state;
    check_changes(changes, PV_ARRAY_LEN(changes), true);
}

static void lists_are_inputs(void **state)
{
    struct pv_strv *lists[] = {&p.qemu_args, &p.env};

    (void)state;
    set_up_profile();
    for (size_t i = 0; i < PV_ARRAY_LEN(lists); i++) {
        cleanup_free char *base = describe();

        pv_strv_add(lists[i], "A=1");
        cleanup_free char *text = describe();

        assert_string_not_equal(text, base);
        pv_strv_free(lists[i]);
    }
}

/* Keys that change nothing in the guest: docs/fixtures.md. */
static void other_keys_are_none(void **state)
{
    const struct change changes[] = {
        MEMBER(boot_timeout_ns, 5),
        MEMBER(unconfined, true),
        MEMBER(cached, true),
        MEMBER(transport, PV_TRANSPORT_SERIAL),
        MEMBER(line, 7),
    };

    (void)state;
    check_changes(changes, PV_ARRAY_LEN(changes), false);
}

static char *describe_cpu(const char *cpuinfo)
{
    struct pv_buf text = {0};

    pv_guest_describe_cpu(cpuinfo, &text);
    return text.data;
}

/* The host's CPU is an input with KVM, what is measured of it is none. */
static void the_cpu_of_the_host_is_one(void **state)
{
#define CPU(model, stepping, microcode, mhz, flags) \
    "processor\t: 0\nmodel name\t: " model "\nstepping\t: " stepping "\nmicrocode\t: " microcode \
    "\ncpu MHz\t\t: " mhz "\nflags\t\t: " flags "\n\nprocessor\t: 1\nmicrocode\t: 0x1\n"
    static const char *const others[] = {
        CPU("Other CPU", "4", "0x24", "2900.000", "fpu vme"),
        CPU("Some CPU", "5", "0x24", "2900.000", "fpu vme"),
        CPU("Some CPU", "4", "0x25", "2900.000", "fpu vme"),
        CPU("Some CPU", "4", "0x24", "2900.000", "fpu vme avx2"),
    };
    cleanup_free char *base = describe_cpu(CPU("Some CPU", "4", "0x24", "2900.000", "fpu vme"));
    cleanup_free char *slower = describe_cpu(CPU("Some CPU", "4", "0x24", "800.000", "fpu vme"));

    (void)state;
    assert_string_equal(slower, base);
    for (size_t i = 0; i < PV_ARRAY_LEN(others); i++) {
        cleanup_free char *other = describe_cpu(others[i]);

        assert_string_not_equal(other, base);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_that_the_guest_sees_is_one),
        cmocka_unit_test(lists_are_inputs),
        cmocka_unit_test(other_keys_are_none),
        cmocka_unit_test(the_cpu_of_the_host_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

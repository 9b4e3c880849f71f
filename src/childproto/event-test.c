/* SPDX-License-Identifier: MIT */
/* Messages with one wrong field each, at the decoder. */
#include "util/test.h"

#include <string.h>

#include "childproto/event.h"

static const struct pv_event good = {.type = PV_EV_STEP_BEGIN,
                                     .kind = PV_STEP_BOOT,
                                     .time_ns = 5,
                                     .console = -1,
                                     .name = "vm1",
                                     .name_len = 3,
                                     .text = "boot",
                                     .text_len = 4};

static bool event_passes(struct pv_event ev)
{
    static unsigned char buf[PV_EVENT_MAX];
    struct pv_event back;

    return pv_event_decode(&back, buf, pv_event_encode(&ev, buf));
}

static void test_every_field_is_checked(void **state)
{
    struct pv_event ev;

    (void)state;
    assert_true(event_passes(good));
    ev = good;
    ev.type = PV_EV_COUNT;
    assert_false(event_passes(ev));
    ev = good;
    ev.outcome = PV_OUTCOME_COUNT;
    assert_false(event_passes(ev));
    ev = good;
    ev.cls = PV_CLASS_COUNT;
    assert_false(event_passes(ev));
    ev = good;
    ev.kind = PV_STEP_COUNT;
    assert_false(event_passes(ev));
    ev = good;
    ev.time_ns = INT64_MIN;
    assert_false(event_passes(ev));
    ev = good;
    ev.duration_ns = -1;
    assert_false(event_passes(ev));
    ev = good;
    ev.console = -2;
    assert_false(event_passes(ev));
    ev = good;
    ev.name = "v\0m";
    assert_false(event_passes(ev));
    ev = good;
    ev.text = "boo";
    assert_false(event_passes(ev));
}

static void test_lengths_fit(void **state)
{
    static unsigned char buf[PV_EVENT_MAX + 1];
    struct pv_event back;
    size_t n = pv_event_encode(&good, buf);

    (void)state;
    for (size_t cut = 0; cut <= n + 1; cut++)
        assert_int_equal(pv_event_decode(&back, buf, cut), cut == n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_is_checked),
        cmocka_unit_test(test_lengths_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

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

/* The numbers of the head that an encoder does not write wrongly, at their places in the message. */
static void test_heads_are_not_believed(void **state)
{
    enum { AT_NAME_LEN = 16, AT_TEXT_LEN = 24, AT_OK = 60, HEAD = 64 };
    static const struct {
        uint32_t name_len, ok;
        uint64_t text_len;
        size_t n;
        bool passes;
    } rows[] = {
        {3, 1, 4, HEAD + 7, true},
        {3, 2, 4, HEAD + 7, false},
        {PV_EVENT_NAME_MAX, 0, PV_EVENT_TEXT_MAX, HEAD + PV_EVENT_NAME_MAX + PV_EVENT_TEXT_MAX, true},
        {PV_EVENT_NAME_MAX + 1, 0, 0, HEAD + PV_EVENT_NAME_MAX + 1, false},
        {0, 0, PV_EVENT_TEXT_MAX + 1, HEAD + PV_EVENT_TEXT_MAX + 1, false},
        {3, 0, UINT64_MAX - 2, HEAD, false}, /* a sum that is right only because it overflows */
        {UINT32_MAX, 0, 1 + UINT64_MAX - UINT32_MAX, HEAD, false},
    };
    static unsigned char buf[PV_EVENT_MAX];
    struct pv_event back;

    (void)state;
    assert_int_equal(pv_event_encode(&(struct pv_event){.name = ""}, buf), HEAD);
    memset(buf + HEAD, 'x', sizeof(buf) - HEAD);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memcpy(buf + AT_NAME_LEN, &rows[i].name_len, sizeof(rows[i].name_len));
        memcpy(buf + AT_TEXT_LEN, &rows[i].text_len, sizeof(rows[i].text_len));
        memcpy(buf + AT_OK, &rows[i].ok, sizeof(rows[i].ok));
        assert_int_equal(pv_event_decode(&back, buf, rows[i].n), rows[i].passes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_is_checked),
        cmocka_unit_test(test_lengths_fit),
        cmocka_unit_test(test_heads_are_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

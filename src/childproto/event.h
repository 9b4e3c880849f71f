/* SPDX-License-Identifier: MIT */
/*
 * The events that the process of a test file sends to the supervisor (result.h sends them): one
 * SOCK_SEQPACKET message each, a fixed head and two byte strings.  Both ends are the same binary, so integers
 * are the host's; the decoder still checks every field, because the test may have corrupted its process.
 */
#ifndef PV_CHILDPROTO_EVENT_H
#define PV_CHILDPROTO_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"

enum pv_event_type {
    PV_EV_TEST_BEGIN,   /* name; id is the number of the sub-test, counted from 0 */
    PV_EV_TEST_META,    /* id, name: key, text: value, ok: it is in a list */
    PV_EV_TEST_EXPECT,  /* id, text: why the sub-test is expected to fail */
    PV_EV_TEST_ATTEMPT, /* id, outcome, class, text: message, duration; another attempt follows */
    PV_EV_NOTE,         /* id: of the sub-test or PV_NO_TEST, text: of a call of log() */
    PV_EV_TEST_END,     /* id, outcome, class, text: message */
    PV_EV_FILE,         /* outcome, class, text: message; the verdict on the file, sent last */
    PV_EV_LOG,          /* name: VM, text: path of its console log */
    PV_EV_CONSOLE,      /* name: VM, text: tail of its console; id: of the failed sub-test or PV_NO_TEST */
    PV_EV_NOTICE,       /* text: one line for the user */
    PV_EV_PHASE,        /* text: the blocking operation the file is in, "booting vm1" */
    PV_EV_STEP_BEGIN,   /* id, kind, name: VM or none, text; time, console */
    PV_EV_STEP_END,     /* id, ok; time, console */
    PV_EV_STEPS_CUT,    /* id: number of steps that were not sent */
    PV_EV_FINDING, /* name: VM, id: of the sub-test or PV_NO_TEST, outcome, class, text: headline, newline,
                         excerpt; findings are counted from 0 */
    PV_EV_FINDING_HANDLED, /* id: of the finding */
    PV_EV_FINDING_PLACES,  /* id: of the finding, text: its excerpt with source lines */
    PV_EV_VM,              /* name: VM, text: its new state */
    PV_EV_LIVE,            /* name: VM, id: enum pv_live_kind, text: lines of it (--live) */
    PV_EV_SAVING, /* ok: the VMs of the file are about to be saved (--save-failed), else that is over */
    PV_EV_SAVED,  /* name: path of the file, text: which VMs it has */
    PV_EV_CORE,   /* name: VM, text: path of a core, newline, its format, newline, its vmlinux (--vmcore) */
    PV_EV_INPUT,  /* name: absolute path, id: enum pv_input_kind, text: its stamp (--watch) */
    PV_EV_COUNT
};

enum {
    PV_EVENT_NAME_MAX = 4096,
    PV_EVENT_TEXT_MAX = 48 * 1024,
    PV_EVENT_MAX = 96 + PV_EVENT_NAME_MAX + PV_EVENT_TEXT_MAX
};

struct pv_event {
    enum pv_event_type type;
    enum pv_outcome outcome;
    enum pv_class cls;
    uint32_t id;
    int64_t duration_ns;
    enum pv_step kind;
    bool ok;
    int64_t time_ns;         /* CLOCK_MONOTONIC: of the begin and end of sub-tests and steps */
    int64_t console;         /* length of the VM's console log at that time, bytes; -1: not known */
    const char *name, *text; /* decoded: into the message, not terminated */
    size_t name_len, text_len;
};

/* Cuts name and text to their maxima. Returns the length of the message. */
size_t pv_event_encode(const struct pv_event *ev, unsigned char buf[static PV_EVENT_MAX]);
/*
 * False when the message is not a valid event: every field is checked but id, whose meaning is the receiver's.
 * ev points into buf.
 */
bool pv_event_decode(struct pv_event *ev, const unsigned char *buf, size_t n);

#endif

/* SPDX-License-Identifier: MIT */
#include "testfile/timeline.h"

#include <stdarg.h>
#include <stdio.h>

#include "loop/loop.h"
#include "testfile/builder-link.h"
#include "testfile/limit.h"
#include "testfile/testfile.h"
#include "util/mem.h"

enum { TF_PHASE_MAX = 512 };

const char *pv_tf_track(const struct pv_testfile *tf, const char *vm)
{
    return tf->scope.track[0] ? tf->scope.track : vm;
}

uint32_t pv_tf_step_send(struct pv_testfile *tf, const char *vm, enum pv_step kind, const char *text)
{
    if (pv_task_cancelled(tf->loop))
        return PV_NO_STEP;
    if (tf->env->save_dir)
        pv_tf_journal_add(&tf->journal, pv_tf_track(tf, vm), text);
    return pv_result_step_begin(tf->env->result, pv_tf_track(tf, vm), kind, text);
}

/* The phase, with that of other contexts: "booting vm1 (and 2 more)". */
static void phase_compose(const struct pv_testfile *tf, const char *what, char text[static TF_PHASE_MAX])
{
    size_t others = 0;

    for (const struct tf_context *c = tf->contexts; c; c = c->next) {
        const char *doing = c->timeline.doing;

        if (!doing[0])
            continue;
        if (what[0])
            others++;
        else
            what = doing;
    }
    if (others)
        snprintf(text, TF_PHASE_MAX, "%.200s (and %zu more)", what, others);
    else
        snprintf(text, TF_PHASE_MAX, "%s", what);
}

void pv_tf_phase(struct pv_testfile *tf, const char *what)
{
    char text[TF_PHASE_MAX];

    phase_compose(tf, what, text);
    if (tf->builder)
        pv_tf_builder_say(tf->builder, TF_MSG_PHASE, PV_CLASS_NONE, NULL, text);
    else
        pv_result_phase(tf->env->result, text);
}

static void step_begin(struct pv_testfile *tf, const char *track, enum pv_step kind, const char *fmt,
                       va_list ap)
{
    struct tf_timeline *t = &tf->timeline;

    vsnprintf(t->doing, sizeof(t->doing), fmt, ap);
    pv_tf_phase(tf, t->doing);
    if (t->n_steps < PV_ARRAY_LEN(t->steps))
        t->steps[t->n_steps] = pv_tf_step_send(tf, track, kind, t->doing);
    t->n_steps++;
}

void pv_tf_step_begin(struct pv_testfile *tf, const char *track, enum pv_step kind, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    step_begin(tf, track, kind, fmt, ap);
    va_end(ap);
}

void pv_tf_call_begin(struct pv_testfile *tf, const char *track, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    step_begin(tf, track, PV_STEP_CALL, fmt, ap);
    va_end(ap);
}

void pv_tf_step_end(struct pv_testfile *tf, bool ok)
{
    struct tf_timeline *t = &tf->timeline;

    if (!ok)
        pv_tf_limit_note(tf, t->doing);
    t->doing[0] = '\0';
    pv_tf_phase(tf, "");
    if (t->n_steps > 0 && --t->n_steps < PV_ARRAY_LEN(t->steps))
        pv_result_step_end(tf->env->result, t->steps[t->n_steps], ok);
}

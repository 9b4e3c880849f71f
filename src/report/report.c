/* SPDX-License-Identifier: MIT */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

#include "childproto/event.h"
#include "util/text.h"
#include "util/clock.h"

enum {
    SHED_MSG_MAX = 1000,
    CORES_MAX = 256,
    MAX_CONSOLES = 64,
    MAX_LOGS = 4096,
    MAX_VMS = 4096,
    MAX_FINDINGS = 4096,
    MAX_INPUTS = 20000
};

/* A copy of an event's string; beyond PV_REPORT_MAX "", and f->cut is set. */
static char *report_copy(struct pv_file_report *f, const char *s, size_t n)
{
    if (f->kept + n + 64 > PV_REPORT_MAX) {
        f->cut = true;
        return NULL;
    }
    f->kept += n + 64;
    return pv_xstrndup(s, n);
}

static void report_test_begin(struct pv_file_report *f, const struct pv_event *ev)
{
    char *name;

    if (ev->id != f->n_tests || !(name = report_copy(f, ev->name, ev->name_len)))
        return;
    f->tests = pv_xgrow(f->tests, f->n_tests, sizeof(*f->tests));
    f->tests[f->n_tests++] = (struct pv_test_report){.name = name, .begin_ns = ev->time_ns - f->base_ns};
}

static void report_test_end(struct pv_file_report *f, const struct pv_event *ev)
{
    struct pv_test_report *t;

    if (ev->id >= f->n_tests) {
        f->cut = true;
        return;
    }
    t = &f->tests[ev->id];
    if (t->ended)
        return;
    t->ended = true;
    t->outcome = ev->outcome;
    t->cls = ev->cls;
    t->duration_ns = ev->duration_ns;
    t->msg = report_copy(f, ev->text, ev->text_len);
}

/* The sub-test's meta of that key; NULL: it has none yet. */
static struct pv_meta_report *test_meta(struct pv_test_report *t, const struct pv_event *ev)
{
    for (size_t i = 0; i < t->n_meta; i++)
        if (strlen(t->meta[i].key) == ev->name_len && !memcmp(t->meta[i].key, ev->name, ev->name_len))
            return &t->meta[i];
    return NULL;
}

static void report_test_meta(struct pv_file_report *f, const struct pv_event *ev)
{
    struct pv_test_report *t = ev->id < f->n_tests ? &f->tests[ev->id] : NULL;
    struct pv_meta_report *m = t ? test_meta(t, ev) : NULL;
    char *value = t ? report_copy(f, ev->text, ev->text_len) : NULL;
    char *key = value && !m ? report_copy(f, ev->name, ev->name_len) : NULL;

    if (!value || (!m && !key)) {
        free(value);
        return;
    }
    if (!m) {
        t->meta = pv_xrealloc(t->meta, (t->n_meta + 1) * sizeof(*t->meta));
        m = &t->meta[t->n_meta++];
        *m = (struct pv_meta_report){.key = key};
    }
    m->list = ev->ok || m->values.n > 0;
    pv_strv_take(&m->values, value);
}

static void report_test_expect(struct pv_file_report *f, const struct pv_event *ev)
{
    struct pv_test_report *t = ev->id < f->n_tests ? &f->tests[ev->id] : NULL;

    if (t && !t->expect_fail)
        t->expect_fail = report_copy(f, ev->text, ev->text_len);
}

static void report_test_attempt(struct pv_file_report *f, const struct pv_event *ev)
{
    struct pv_test_report *t = ev->id < f->n_tests ? &f->tests[ev->id] : NULL;
    char *msg = t ? report_copy(f, ev->text, ev->text_len) : NULL;

    if (!msg)
        return;
    t->attempts = pv_xrealloc(t->attempts, (t->n_attempts + 1) * sizeof(*t->attempts));
    t->attempts[t->n_attempts++] =
        (struct pv_test_attempt){.cls = ev->cls, .msg = msg, .duration_ns = ev->duration_ns};
}

static void report_note(struct pv_file_report *f, const struct pv_event *ev)
{
    char *text = report_copy(f, ev->text, ev->text_len);

    if (text)
        pv_strv_take(ev->id < f->n_tests ? &f->tests[ev->id].log : &f->log, text);
}

static void report_console(struct pv_file_report *f, const struct pv_event *ev)
{
    char *vm, *tail;

    if (f->n_consoles == MAX_CONSOLES)
        return;
    vm = report_copy(f, ev->name, ev->name_len);
    tail = report_copy(f, ev->text, ev->text_len);
    f->consoles = pv_xrealloc(f->consoles, (f->n_consoles + 1) * sizeof(*f->consoles));
    f->consoles[f->n_consoles++] = (struct pv_console){.id = ev->id, .vm = vm, .tail = tail};
}

static void report_step_begin(struct pv_file_report *f, const struct pv_event *ev)
{
    char *vm, *text;

    if (ev->id != f->n_steps || f->n_steps == PV_STEPS_MAX)
        return;
    vm = report_copy(f, ev->name, ev->name_len);
    text = report_copy(f, ev->text, ev->text_len);
    if (!vm || !text) {
        free(vm);
        free(text);
        return;
    }
    f->steps = pv_xgrow(f->steps, f->n_steps, sizeof(*f->steps));
    f->steps[f->n_steps++] = (struct pv_step_report){.kind = ev->kind,
                                                     .vm = vm,
                                                     .text = text,
                                                     .begin_ns = ev->time_ns - f->base_ns,
                                                     .console_begin = ev->console,
                                                     .console_end = -1};
}

static void report_step_end(struct pv_file_report *f, const struct pv_event *ev)
{
    struct pv_step_report *s = ev->id < f->n_steps ? &f->steps[ev->id] : NULL;

    if (!s || s->ended)
        return;
    s->ended = true;
    s->ok = ev->ok;
    s->end_ns = ev->time_ns - f->base_ns;
    s->console_end = ev->console;
}

static void report_finding(struct pv_file_report *f, const struct pv_event *ev)
{
    const char *nl = memchr(ev->text, '\n', ev->text_len);
    size_t head = nl ? (size_t)(nl - ev->text) : ev->text_len, rest = nl ? head + 1 : head;

    if (f->n_findings == MAX_FINDINGS) {
        f->cut = true;
        return;
    }
    f->findings = pv_xgrow(f->findings, f->n_findings, sizeof(*f->findings));
    f->findings[f->n_findings++] =
        (struct pv_finding_report){.test_id = ev->id,
                                   .cls = ev->cls,
                                   .outcome = ev->outcome,
                                   .vm = report_copy(f, ev->name, ev->name_len),
                                   .headline = report_copy(f, ev->text, head),
                                   .excerpt = report_copy(f, ev->text + rest, ev->text_len - rest)};
}

static void report_console_log(struct pv_file_report *f, const struct pv_event *ev)
{
    char *vm, *path;

    if (f->n_logs == MAX_LOGS)
        return;
    vm = report_copy(f, ev->name, ev->name_len);
    path = report_copy(f, ev->text, ev->text_len);
    if (!vm || !path) {
        free(vm);
        free(path);
        return;
    }
    f->logs = pv_xrealloc(f->logs, (f->n_logs + 1) * sizeof(*f->logs));
    f->logs[f->n_logs++] = (struct pv_console_log){.vm = vm, .path = path};
}

static void report_vm_state(struct pv_file_report *f, const struct pv_event *ev)
{
    struct pv_vm_report *v = NULL;

    for (size_t i = 0; i < f->n_vms && !v; i++)
        if (strlen(f->vms[i].name) == ev->name_len && !memcmp(f->vms[i].name, ev->name, ev->name_len))
            v = &f->vms[i];
    if (!v) {
        char *name = f->n_vms < MAX_VMS ? report_copy(f, ev->name, ev->name_len) : NULL;

        if (!name)
            return;
        f->vms = pv_xrealloc(f->vms, (f->n_vms + 1) * sizeof(*f->vms));
        v = &f->vms[f->n_vms++];
        *v = (struct pv_vm_report){.name = name};
    }
    free(v->state);
    v->state = pv_xstrndup(ev->text, ev->text_len < 32 ? ev->text_len : 32);
    v->since = pv_now();
}

static void report_verdict(struct pv_file_report *f, const struct pv_event *ev)
{
    f->verdict = true;
    f->outcome = ev->outcome;
    f->cls = ev->cls;
    free(f->msg);
    f->msg = pv_xstrndup(ev->text, ev->text_len);
}

static void report_saved(struct pv_file_report *f, const struct pv_event *ev)
{
    free(f->saved);
    free(f->saved_vms);
    f->saved = pv_xstrndup(ev->name, ev->name_len);
    f->saved_vms = pv_xstrndup(ev->text, ev->text_len);
}

static void report_core(struct pv_file_report *f, const struct pv_event *ev)
{
    cleanup_free char *text = pv_xstrndup(ev->text, ev->text_len);
    char *format = strchr(text, '\n'), *vmlinux = format ? strchr(format + 1, '\n') : NULL;

    if (!vmlinux || f->n_cores == CORES_MAX)
        return;
    *format = *vmlinux = '\0';
    f->cores = pv_xrealloc(f->cores, (f->n_cores + 1) * sizeof(*f->cores));
    f->cores[f->n_cores++] = (struct pv_core_file){.vm = pv_xstrndup(ev->name, ev->name_len),
                                                   .path = pv_xstrdup(text),
                                                   .format = pv_xstrdup(format + 1),
                                                   .vmlinux = vmlinux[1] ? pv_xstrdup(vmlinux + 1) : NULL};
}

static void report_phase(struct pv_file_report *f, const struct pv_event *ev)
{
    free(f->phase);
    f->phase = pv_xstrndup(ev->text, ev->text_len);
    f->phase_since = pv_now();
}

static void report_finding_handled(struct pv_file_report *f, const struct pv_event *ev)
{
    if (ev->id < f->n_findings)
        f->findings[ev->id].handled = true;
}

static void report_finding_places(struct pv_file_report *f, const struct pv_event *ev)
{
    if (ev->id >= f->n_findings)
        return;
    free(f->findings[ev->id].excerpt);
    f->findings[ev->id].excerpt = report_copy(f, ev->text, ev->text_len);
}

static void report_steps_cut(struct pv_file_report *f, const struct pv_event *ev)
{
    f->steps_cut = ev->id;
}

static void report_input(struct pv_file_report *f, const struct pv_event *ev)
{
    cleanup_free char *stamp = pv_xstrndup(ev->text, ev->text_len);

    if (f->n_inputs == MAX_INPUTS || ev->id >= PV_INPUT_KINDS)
        return;
    f->inputs = pv_xrealloc(f->inputs, (f->n_inputs + 1) * sizeof(*f->inputs));
    f->inputs[f->n_inputs++] = (struct pv_input_report){.kind = (enum pv_input_kind)ev->id,
                                                        .path = pv_xstrndup(ev->name, ev->name_len),
                                                        .stamp = strtoull(stamp, NULL, 16)};
}

/* Events without an entry are the slot's, or for the user only. */
static void (*const event_readers[PV_EV_COUNT])(struct pv_file_report *f, const struct pv_event *ev) = {
    [PV_EV_TEST_BEGIN] = report_test_begin,
    [PV_EV_TEST_END] = report_test_end,
    [PV_EV_TEST_META] = report_test_meta,
    [PV_EV_TEST_EXPECT] = report_test_expect,
    [PV_EV_TEST_ATTEMPT] = report_test_attempt,
    [PV_EV_NOTE] = report_note,
    [PV_EV_FILE] = report_verdict,
    [PV_EV_LOG] = report_console_log,
    [PV_EV_CONSOLE] = report_console,
    [PV_EV_PHASE] = report_phase,
    [PV_EV_STEP_BEGIN] = report_step_begin,
    [PV_EV_STEP_END] = report_step_end,
    [PV_EV_FINDING] = report_finding,
    [PV_EV_FINDING_HANDLED] = report_finding_handled,
    [PV_EV_FINDING_PLACES] = report_finding_places,
    [PV_EV_VM] = report_vm_state,
    [PV_EV_SAVED] = report_saved,
    [PV_EV_CORE] = report_core,
    [PV_EV_INPUT] = report_input,
    [PV_EV_STEPS_CUT] = report_steps_cut,
};

void pv_report_event(struct pv_file_report *f, const struct pv_event *ev)
{
    if ((size_t)ev->type < PV_ARRAY_LEN(event_readers) && event_readers[ev->type])
        event_readers[ev->type](f, ev);
}

void pv_report_output(struct pv_file_report *f, const char *data, size_t n)
{
    pv_buf_add(&f->output, data, n);
    if (f->output.len >
        2 * (size_t)PV_OUTPUT_MAX) { /* twice the bound: memmove only once per PV_OUTPUT_MAX bytes */
        size_t drop = f->output.len - PV_OUTPUT_MAX;

        pv_buf_consume(&f->output, drop);
        f->output_cut += drop;
    }
}

void pv_report_broken(struct pv_file_report *f, enum pv_class cls, const char *why)
{
    f->verdict = true;
    f->outcome = PV_FAIL;
    f->cls = cls;
    free(f->msg);
    f->msg = pv_xstrdup(why);
    for (size_t i = 0; i < f->n_tests; i++) {
        struct pv_test_report *t = &f->tests[i];

        if (t->ended)
            continue;
        t->ended = true;
        t->outcome = PV_FAIL;
        t->cls = cls;
        t->msg = pv_xstrdup(f->interrupted ? "interrupted" : "did not finish");
    }
}

bool pv_report_failed(const struct pv_file_report *f)
{
    if (!f->ran)
        return false;
    for (size_t i = 0; i < f->n_tests; i++)
        if (f->tests[i].outcome == PV_FAIL)
            return true;
    return f->outcome == PV_FAIL;
}

bool pv_report_test_flaky(const struct pv_test_report *t)
{
    return t->outcome == PV_OK && t->n_attempts > 0;
}

bool pv_report_flaky(const struct pv_file_report *f)
{
    bool flaky = f->n_attempts > 0;

    for (size_t i = 0; i < f->n_tests; i++)
        flaky |= pv_report_test_flaky(&f->tests[i]);
    return flaky && !pv_report_failed(f);
}

/* Each frees a list and its elements. */

static void report_free_test(struct pv_test_report *t)
{
    for (size_t i = 0; i < t->n_meta; i++) {
        free(t->meta[i].key);
        pv_strv_free(&t->meta[i].values);
    }
    for (size_t i = 0; i < t->n_attempts; i++)
        free(t->attempts[i].msg);
    free(t->meta);
    free(t->attempts);
    pv_strv_free(&t->log);
    free(t->expect_fail);
    free(t->name);
    free(t->msg);
}

static void report_free_tests(struct pv_file_report *f)
{
    for (size_t i = 0; i < f->n_tests; i++)
        report_free_test(&f->tests[i]);
    pv_strv_free(&f->log);
    free(f->tests);
    f->tests = NULL;
    f->n_tests = 0;
}

static void report_free_consoles(struct pv_file_report *f)
{
    for (size_t i = 0; i < f->n_consoles; i++) {
        free(f->consoles[i].vm);
        free(f->consoles[i].tail);
    }
    for (size_t i = 0; i < f->n_texts; i++) {
        free(f->texts[i].vm);
        free(f->texts[i].text);
    }
    free(f->consoles);
    free(f->texts);
    f->consoles = NULL;
    f->texts = NULL;
    f->n_consoles = f->n_texts = 0;
}

static void report_free_steps(struct pv_file_report *f)
{
    for (size_t i = 0; i < f->n_steps; i++) {
        free(f->steps[i].vm);
        free(f->steps[i].text);
    }
    free(f->steps);
    f->steps = NULL;
    f->n_steps = 0;
}

static void report_free_inputs(struct pv_file_report *f)
{
    for (size_t i = 0; i < f->n_inputs; i++)
        free(f->inputs[i].path);
    free(f->inputs);
    f->inputs = NULL;
    f->n_inputs = 0;
}

static const struct pv_test_report *report_first_failed(const struct pv_file_report *f)
{
    for (size_t i = 0; i < f->n_tests; i++)
        if (f->tests[i].outcome == PV_FAIL)
            return &f->tests[i];
    return NULL;
}

static void report_move_inputs(struct pv_file_report *to, struct pv_file_report *from)
{
    to->inputs = pv_steal(&from->inputs);
    to->n_inputs = from->n_inputs;
    from->n_inputs = 0;
}

void pv_report_next_attempt(struct pv_file_report *f)
{
    const struct pv_test_report *t = f->msg && *f->msg ? NULL : report_first_failed(f);
    struct pv_attempt_report a = {.outcome = pv_report_failed(f) ? PV_FAIL : f->outcome,
                                  .cls = t ? t->cls : f->cls,
                                  .begin_ns = f->begin_ns,
                                  .duration_ns = f->duration_ns};
    struct pv_file_report next = {.name = f->name,
                                  .path = f->path,
                                  .root = f->root,
                                  .base_ns = f->base_ns,
                                  .n_attempts = f->n_attempts + 1};

    if (t)
        a.msg = pv_xasprintf("%s: %s", t->name, t->msg ? t->msg : "failed");
    else
        a.msg = pv_xstrdup(f->msg ? f->msg : "");
    if (f->n_logs)
        a.log = pv_xstrdup(f->logs[0].path);
    next.attempts = pv_xrealloc(pv_steal(&f->attempts), next.n_attempts * sizeof(*next.attempts));
    next.attempts[f->n_attempts] = a;
    f->n_attempts = 0;
    report_move_inputs(&next, f);
    pv_file_report_fini(f);
    *f = next;
}

void pv_report_begin_again(struct pv_file_report *f)
{
    struct pv_file_report next = {.name = f->name, .path = f->path, .root = f->root, .base_ns = f->base_ns};

    next.attempts = pv_steal(&f->attempts);
    next.n_attempts = f->n_attempts;
    f->n_attempts = 0;
    report_move_inputs(&next, f);
    pv_file_report_fini(f);
    *f = next;
}

void pv_report_shed(struct pv_file_report *f)
{
    const struct pv_test_report *t = report_first_failed(f);

    if (t) {
        f->outcome = PV_FAIL;
        f->cls = f->cls ? f->cls : t->cls;
    }
    if (f->msg && strlen(f->msg) > SHED_MSG_MAX) {
        char *msg = pv_xstrndup(f->msg, pv_text_clip(f->msg, strlen(f->msg), SHED_MSG_MAX));

        free(f->msg);
        f->msg = msg;
    }
    for (size_t i = 0; i < f->n_findings; i++) {
        free(f->findings[i].excerpt);
        f->findings[i].excerpt = NULL;
    }
    report_free_tests(f);
    report_free_consoles(f);
    report_free_steps(f);
    report_free_inputs(f);
    pv_buf_free(&f->output);
}

void pv_file_report_fini(struct pv_file_report *f)
{
    report_free_tests(f);
    report_free_consoles(f);
    report_free_steps(f);
    report_free_inputs(f);
    for (size_t i = 0; i < f->n_attempts; i++) {
        free(f->attempts[i].msg);
        free(f->attempts[i].log);
    }
    free(f->attempts);
    for (size_t i = 0; i < f->n_logs; i++) {
        free(f->logs[i].vm);
        free(f->logs[i].path);
    }
    for (size_t i = 0; i < f->n_findings; i++) {
        free(f->findings[i].vm);
        free(f->findings[i].headline);
        free(f->findings[i].excerpt);
    }
    free(f->findings);
    for (size_t i = 0; i < f->n_vms; i++) {
        free(f->vms[i].name);
        free(f->vms[i].state);
    }
    free(f->vms);
    free(f->logs);
    for (size_t i = 0; i < f->n_cores; i++) {
        free(f->cores[i].vm);
        free(f->cores[i].path);
        free(f->cores[i].format);
        free(f->cores[i].vmlinux);
    }
    free(f->cores);
    free(f->saved);
    free(f->saved_vms);
    free(f->msg);
    free(f->phase);
    pv_buf_free(&f->output);
    *f = (struct pv_file_report){0};
}

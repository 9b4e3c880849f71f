/* SPDX-License-Identifier: MIT */
#include "testfile/observer.h"

#include <string.h>
#include <sys/stat.h>

#include "testfile/cached.h"
#include "testfile/deaths.h"
#include "testfile/live.h"
#include "testfile/testfile.h"
#include "util/mem.h"

static void observer_notice(const char *line, void *arg)
{
    struct pv_testfile *tf = arg;

    pv_result_notice(tf->env->result, line);
}

static void observer_phase(const char *vm, const char *what, void *arg)
{
    struct pv_testfile *tf = arg;
    const char *doing = tf->timeline.doing;
    cleanup_free char *text = NULL;

    pv_tf_logs_send(tf);
    if (!strncmp(doing, "booting", 7) && !strcmp(what, "booting"))
        text = pv_xstrdup(doing);
    else if (!strncmp(doing, "booting", 7))
        text = pv_xasprintf("%s (%s)", doing, what);
    else if (doing[0])
        return; /* the call's own words are the better ones */
    else
        text = pv_xasprintf("%s: %s", vm, what);
    pv_tf_phase(tf, text);
}

static void observer_reads(const struct pv_guest *g, const char *path, void *arg)
{
    pv_tf_reads(arg, path);
    pv_tf_cached_reads(arg, g, path);
}

static void observer_state(const struct pv_guest *g, enum pv_guest_state state, void *arg)
{
    struct pv_testfile *tf = arg;

    if (state == PV_GUEST_BOOTING)
        pv_tf_findings_outdate(tf, g);
    if (!tf->builder) /* a builder's vm1 is another one than the file's */
        pv_result_vm(tf->env->result, pv_guest_name(g), pv_guest_state_name(state));
}

static void observer_ended(const struct pv_guest *g, bool panicked, const struct pv_guest_death *death,
                           void *arg)
{
    pv_tf_live_flush(arg);
    pv_tf_findings_ended(arg, g, panicked);
    if (death)
        pv_tf_deaths_add(arg, g, death);
}

/* The console log's size, which is where its next byte goes. */
static int64_t observer_console_size(const char *vm, void *arg)
{
    const struct pv_testfile *tf = arg;

    if (!strcmp(vm, tf->scope.track)) /* a task's */
        return -1;
    for (const struct tf_guest *g = tf->guests.first; g; g = g->next) {
        const char *path = strcmp(g->name, vm) ? NULL : pv_guest_log_path(g->g);
        struct stat st;

        if (path)
            return stat(path, &st) == 0 ? st.st_size : -1;
    }
    return 0; /* the VM has no log yet */
}

void pv_tf_observe(struct pv_testfile *tf)
{
    tf->guest_env.observer = (struct pv_guest_observer){.notice = observer_notice,
                                                        .phase = observer_phase,
                                                        .finding = pv_tf_finding_add,
                                                        .reads = observer_reads,
                                                        .state = observer_state,
                                                        .ended = observer_ended,
                                                        .output = tf->env->live ? pv_tf_live_output : NULL,
                                                        .arg = tf};
    pv_result_set_console_size(tf->env->result, observer_console_size, tf);
}

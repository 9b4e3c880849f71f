/* SPDX-License-Identifier: MIT */
/*
 * Every message of a VM's life against every fault.  For each scenario and each n, something goes wrong at its n-th
 * message: QEMU ends, the kernel panics, hangs or reports something, a descriptor gets garbage, ends or drips.
 *
 *     test-fake DIR [full|few] [SCENARIO|corpus|corpus:PHASE[:KIND]]    DIR has the fake QEMU; few: under
 *                                             sanitizers, every FEW-th case and no corpus
 *     test-fake DIR SCENARIO NAME N ACTION      one case (plan.h), with its message
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/fake/corpus.h"
#include "tests/fake/run.h"
#include "tests/fake/scenarios.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/spawn.h"

enum verdict {
    ANY,  /* ok, if the VM was not needed any more */
    FAILS /* the console speaks of a failure */
};

/* Kinds of run: a full one, and a short one for the first scenario and for all others. */
enum { RUN_FULL, RUN_SHORT_FIRST, RUN_SHORT, RUN_COUNT };

/* stride: only every so manyth message in each kind of run, because some cases take seconds; 0: none. */
static const struct action {
    const char *name;
    enum verdict verdict;
    unsigned stride[RUN_COUNT];
} actions[] = {
    {"exit", ANY, {1, 4, 13}},
    {"sigkill", ANY, {1, 4, 13}},
    {"off", ANY, {1, 4, 13}},
    {"panic", FAILS, {1, 3, 7}},
    {"null", FAILS, {1, 1, 4}},
    {"warning", FAILS, {1, 3, 7}},
    {"garbage-console", ANY, {3, 11, 31}},
    {"eof-console", ANY, {3, 11, 31}},
    {"garbage-qmp", ANY, {3, 11, 31}},
    {"garbage-agent", ANY, {3, 11, 31}},
    {"eof-qmp", ANY, {3, 11, 31}},
    {"eof-agent", ANY, {3, 11, 31}},
    {"hang", ANY, {7, 47, 0}},
    {"panic-hang", FAILS, {7, 23, 0}},
    {"panic-end-hang", FAILS, {7, 23, 0}},
    {"panic-text", ANY, {7, 23, 0}},
    {"drip-qmp", ANY, {7, 37, 0}},
    {"drip-console", ANY, {7, 37, 0}},
    {"drip-agent", ANY, {7, 37, 0}},
};

static const struct corpus *corpus; /* while it runs */
static unsigned n_run, n_bad, n_verdicts[PV_OUTCOME_COUNT];
static double longest;

static bool case_must_fail(const struct fake_case *c)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(actions); i++)
        if (!strcmp(actions[i].name, c->action))
            return actions[i].verdict == FAILS && c->done;
    return false;
}

/* NULL: nothing is wrong with the case. */
static const char *case_fault(const struct fake_case *c)
{
    if (c->overdue)
        return "did not end";
    if (!WIFEXITED(c->status))
        return "its process crashed";
    if (WEXITSTATUS(c->status) > 1)
        return "its process left descriptors, or a sanitizer found something";
    if (!c->verdict)
        return "no verdict";
    if (case_must_fail(c) && c->outcome != PV_FAIL)
        return "ok, and a kernel has reported something";
    if (!c->fired && c->outcome != PV_OK)
        return "failed without a fault";
    if (c->damaged)
        return "an entry of the cache is called damaged, and nothing damages one";
    if (corpus && !c->fired)
        return "its phase did not come";
    if (corpus && strcmp(pv_class_name(c->cls), corpus_class(corpus, c)) != 0)
        return "another class than expected";
    return NULL;
}

enum { AGAIN_MAX = 40, FEW = 7 };

/*
 * Whether a slow machine alone can explain a fault: its timeouts were too short.  A crash, a leak or an ok where a kernel
 * has reported something has no such excuse.
 */
static bool case_may_be_slow(const struct fake_case *c)
{
    if (c->overdue || (corpus && !c->fired))
        return true;
    return WIFEXITED(c->status) && WEXITSTATUS(c->status) <= 1 && (!c->verdict || c->outcome == PV_FAIL);
}

/* Cases beside which others ran, and that were wrong in a way that slowness explains: they run alone once more. */
static struct {
    struct fake_case *cases[AGAIN_MAX];
    size_t n;
    bool now;
} again;

static void judge(struct fake_case *c)
{
    const char *fault = case_fault(c);
    char how[64];

    n_run += !again.now;
    n_verdicts[c->verdict ? c->outcome : PV_FAIL] += !again.now;
    longest = c->seconds > longest ? c->seconds : longest;
    if (!fault)
        return;
    if (!again.now && again.n < AGAIN_MAX && case_may_be_slow(c)) {
        again.cases[again.n++] = c;
        return;
    }
    if (n_bad++ < 40)
        printf("%s %s %u %s: %s (%.1f s, %s, class '%s': %.600s)\n", c->title, c->at, c->n, c->action, fault,
               c->seconds, pv_wait_status_text(c->status, how), pv_class_name(c->cls), c->text);
}

/* Runs the cases, then those that were wrong. */
static void run_all(struct fake_case *cases, size_t n, unsigned jobs)
{
    run_cases(cases, n, jobs, judge);
    again.now = true;
    for (size_t i = 0; i < again.n; i++) {
        struct fake_case *c = again.cases[i];

        c->verdict = c->overdue = c->damaged = false;
        c->cls = PV_CLASS_NONE;
        c->text[0] = '\0';
        run_cases(c, 1, 1, judge);
    }
    again.now = false;
    again.n = 0;
}

static struct fake_case case_of(const struct scenario *s, const char *at, unsigned n, const char *action)
{
    return (struct fake_case){
        .title = s->name, .script = s->script, .fixture = s->fixture, .at = at, .n = n, .action = action};
}

/* The number of messages of the scenario without a fault. */
static unsigned scenario_length(const struct scenario *s)
{
    struct fake_case c = case_of(s, "*", 0, "none");

    run_all(&c, 1, 1);
    if (c.outcome != PV_OK)
        printf("%s: %s\n", s->name, c.text);
    return c.seen;
}

/* share: every so manyth case only. */
static void sweep(const struct scenario *s, unsigned jobs, bool full, unsigned share)
{
    unsigned length = scenario_length(s);
    struct fake_case *cases = pv_xcalloc(length * PV_ARRAY_LEN(actions) + 1, sizeof(*cases));
    unsigned before = n_run, bad = n_bad,
             run = full             ? RUN_FULL
                   : s == scenarios ? RUN_SHORT_FIRST
                                    : RUN_SHORT;
    int64_t start = pv_now();
    size_t n = 0, i_case = s - scenarios;

    for (unsigned at = 1; at <= length; at++)
        for (size_t i = 0; i < PV_ARRAY_LEN(actions); i++)
            if (actions[i].stride[run] && (at + i) % actions[i].stride[run] == 0 && i_case++ % share == 0)
                cases[n++] = case_of(s, "*", at, actions[i].name);
    run_all(cases, n, jobs);
    printf("%s: %u messages, %u cases, %u wrong, %.1f s\n", s->name, length, n_run - before, n_bad - bad,
           (double)(pv_now() - start) / 1e9);
    free(cases);
}

static void run_corpus(unsigned jobs, bool full, const char *only)
{
    struct corpus *c = corpus_new(full, only);
    size_t n;
    struct fake_case *cases = corpus_cases(c, &n);
    unsigned bad = n_bad;
    int64_t start = pv_now();

    corpus = c;
    run_all(cases, n, jobs);
    corpus = NULL;
    printf("corpus: %zu cases, %u wrong, %.1f s\n", n, n_bad - bad, (double)(pv_now() - start) / 1e9);
    corpus_free(c);
}

static void run_one(const struct scenario *s, char **argv)
{
    struct fake_case c = case_of(s, argv[0], (unsigned)atoi(argv[1]), argv[2]);

    run_all(&c, 1, 1);
    printf("outcome %d, class '%s', fired %d, seen %u, %.2f s: %s\n", c.outcome, pv_class_name(c.cls),
           c.fired, c.seen, c.seconds, c.text);
}

int main(int argc, char **argv)
{
    unsigned jobs = getenv("FAKE_JOBS") ? (unsigned)atoi(getenv("FAKE_JOBS")) : 12;
    bool full = argc > 2 && !strcmp(argv[2], "full"), few = argc > 2 && !strcmp(argv[2], "few");
    const char *only = argc > 3 - !(full || few) ? argv[2 + (full || few)] : NULL;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2)
        return 2;
    run_begin(argv[1]);
    for (size_t i = 0; i < PV_ARRAY_LEN(scenarios); i++) {
        if (only && strcmp(only, scenarios[i].name) != 0)
            continue;
        if (argc == 6 && !full && !few)
            run_one(&scenarios[i], argv + 3);
        else
            sweep(&scenarios[i], jobs, full, few ? FEW : 1);
    }
    if (only ? !strcmp(only, "corpus") || !strncmp(only, "corpus:", 7) : !few)
        run_corpus(jobs, full, only && only[6] ? only + 7 : NULL);
    if (run_end()) {
        printf("processes were left\n");
        n_bad++;
    }
    printf("%u cases: %u ok, %u failed; %u wrong; the longest took %.1f s\n", n_run, n_verdicts[PV_OK],
           n_verdicts[PV_FAIL], n_bad, longest);
    return n_bad != 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * What guests' kernels complain of, and whose fault that is.
 *
 * A complaint comes out of the loop while some call waits, so nothing here may touch Lua then.  It belongs to
 * the innermost sub-test that is running, else to the file, and is told to the runner at once, because the
 * file's process may not live to its end.  Whether it makes that sub-test fail is decided when the sub-test
 * ends: until then the test may say that it expected it, or have caught the error that a panic's end of the
 * VM raised.
 */
#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "lua/vm.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

/* Of each kind: a flood of warnings leaves room for what matters. */
enum { MAX_WARNINGS = 128, MAX_WORSE = 128 };

/* A kernel that has panicked has ended its VM by then. */
#define PANIC_LIMIT (2 * PV_NSEC_PER_SEC)

/* What expect_report waits for; lives on the C stack of the call. */
struct lua_expect {
    const char *text;
    struct lua_finding *first; /* that fitted */
    struct lua_expect *outer;
};

static struct lua_guest *find_guest(struct pv_lua *pl, const struct pv_guest *g)
{
    struct lua_guest *l = pl->guests;

    while (l && (l->w || l->g != g))
        l = l->next;
    return l;
}

static enum pv_class class_of(enum pv_finding_kind kind)
{
    switch (pv_finding_severity(kind)) {
    case PV_SEV_PANIC:
        return PV_CLASS_PANIC;
    case PV_SEV_OOPS:
        return PV_CLASS_OOPS;
    case PV_SEV_WARNING:
        break;
    }
    return PV_CLASS_WARNING;
}

static enum pv_guest_policy policy_of(const struct pv_lua *pl, enum pv_class cls)
{
    return cls == PV_CLASS_WARNING ? pl->env->warnings : pl->env->oopses;
}

/* PANIC before OOPS before WARNING: as they stand in the enum. */
static enum pv_class worse(enum pv_class a, enum pv_class b)
{
    if (a == PV_CLASS_NONE || b == PV_CLASS_NONE)
        return a == PV_CLASS_NONE ? b : a;
    return a < b ? a : b;
}

static bool holds(const char *headline, const char *excerpt, const char *text)
{
    return strstr(headline, text) || strstr(excerpt, text);
}

static uint32_t running_test(const struct pv_lua *pl)
{
    return pl->n_open ? pl->tests[pl->n_open - 1].id : PV_NO_TEST;
}

/* The one before f in the same VM. */
static struct lua_finding *before(struct pv_lua *pl, const struct lua_finding *f)
{
    struct lua_finding *last = NULL;

    for (struct lua_finding *x = pl->findings; x && x != f; x = x->next)
        if (x->guest == f->guest)
            last = x;
    return last;
}

static void handle(struct pv_lua *pl, struct lua_finding *f)
{
    for (; f && !f->handled; f = f->follows ? before(pl, f) : NULL) {
        f->handled = true;
        if (f->id != PV_NO_TEST)
            pv_result_finding_handled(pl->env->result, f->id);
    }
}

/* True when a test of now or before said that it may come. */
static bool is_allowed(const struct lua_guest *g, const char *headline, const char *excerpt)
{
    for (const struct lua_expect *e = g->expect; e; e = e->outer)
        if (holds(headline, excerpt, e->text))
            return true;
    for (char **s = g->allowed; s && *s; s++)
        if (holds(headline, excerpt, *s))
            return true;
    return false;
}

/* The same, for expect_report to know of; and what comes of something expected is expected. */
static bool is_expected(struct pv_lua *pl, struct lua_finding *f)
{
    struct lua_finding *last;

    for (struct lua_expect *e = f->guest->expect; e; e = e->outer)
        if (holds(f->headline, f->excerpt, e->text)) {
            e->first = e->first ? e->first : f;
            break;
        }
    if (is_allowed(f->guest, f->headline, f->excerpt))
        return true;
    last = f->follows ? before(pl, f) : NULL;
    return last && last->handled;
}

void pv_lua_on_finding(const struct pv_guest *g, const struct pv_finding *finding, void *arg)
{
    struct pv_lua *pl = arg;
    struct lua_guest *guest = find_guest(pl, g);
    enum pv_class cls = class_of(finding->kind);
    enum pv_guest_policy policy = policy_of(pl, cls);
    bool warning = cls == PV_CLASS_WARNING;
    struct lua_finding *f;

    if (!guest) /* it is being freed */
        return;
    if (warning ? pl->n_warnings == MAX_WARNINGS : pl->n_worse == MAX_WORSE) {
        /* nothing of it is kept, but it counts */
        if (policy == PV_POLICY_FAIL && !is_allowed(guest, finding->headline, finding->excerpt)) {
            pl->n_unkept++;
            pl->unkept_cls = worse(pl->unkept_cls, cls);
        }
        return;
    }
    f = pv_xcalloc(1, sizeof(*f));
    *f = (struct lua_finding){.guest = guest,
                              .test_id = running_test(pl),
                              .id = PV_NO_TEST,
                              .cls = cls,
                              .kind = pv_finding_kind_name(finding->kind),
                              .headline = pv_xstrdup(finding->headline),
                              .excerpt = pv_xstrdup(finding->excerpt),
                              .fails = policy == PV_POLICY_FAIL,
                              .follows = finding->follows};
    if (!pl->findings)
        pl->findings_end = &pl->findings;
    *pl->findings_end = f;
    pl->findings_end = &f->next;
    *(warning ? &pl->n_warnings : &pl->n_worse) += 1;
    if (policy != PV_POLICY_IGNORE && !pl->build) /* a fixture fails with it, which is told then */
        f->id = pv_result_finding(pl->env->result, f->test_id, guest->name, cls, f->fails ? PV_FAIL : PV_OK,
                                  f->headline, f->excerpt);
    if (is_expected(pl, f))
        handle(pl, f);
}

void pv_lua_settle_findings(struct pv_lua *pl)
{
    for (struct lua_guest *g = pl->guests; g; g = g->next)
        if (!g->w)
            pv_guest_settle_findings(g->g);
}

void pv_lua_met_death(struct pv_lua *pl, const struct pv_err *err)
{
    if (err->cls != PV_E_GUEST_DIED || err->died != PV_DIED_PANIC)
        return;
    for (struct lua_finding *f = pl->findings; f; f = f->next)
        if (f->cls == PV_CLASS_PANIC && strstr(err->text, pv_guest_name(f->guest->g)))
            for (struct lua_finding *x = f; x && !x->met; x = x->follows ? before(pl, x) : NULL)
                x->met = true;
}

static bool panic_decided(void *arg)
{
    const struct pv_guest *g = arg;

    return pv_guest_state(g) != PV_GUEST_RUNNING || !pv_guest_panic_suspected(g);
}

/* Anybody in the guest can say that the kernel panicked; it has when the machine is at its end then. */
static bool has_panicked(struct pv_lua *pl, const struct lua_finding *f)
{
    pv_loop_run(pl->loop, panic_decided, f->guest->g, pv_deadline(PANIC_LIMIT), NULL);
    return pv_guest_panicked(f->guest->g);
}

void pv_lua_judge_findings(struct pv_lua *pl, uint32_t test_id, enum pv_outcome *outcome, enum pv_class *cls,
                           char **msg)
{
    enum pv_class worst = pl->unkept_cls;
    const struct lua_finding *first = NULL;
    size_t n = 0;

    for (struct lua_finding *f = pl->findings; f; f = f->next) {
        if (f->test_id != test_id || !f->fails || f->handled)
            continue;
        if (f->cls == PV_CLASS_PANIC && !f->met && !has_panicked(pl, f)) {
            f->follows = false;
            handle(pl, f);
            continue;
        }
        if (f->met) {
            if (*outcome != PV_FAIL) /* the test has caught the error */
                handle(pl, f);
            continue;
        }
        n++;
        if (!first || worse(f->cls, first->cls) != first->cls)
            first = f;
        worst = worse(worst, f->cls);
    }
    n += pl->n_unkept;
    pl->n_unkept = 0;
    pl->unkept_cls = PV_CLASS_NONE;
    if (worst == PV_CLASS_NONE)
        return;
    if (*outcome == PV_FAIL && *msg) {
        /* A kernel that broke is the better explanation of whatever went wrong then. */
        if (worst != PV_CLASS_WARNING)
            *cls = worst;
        return;
    }
    *outcome = PV_FAIL;
    *cls = worst;
    free(*msg);
    if (!first)
        *msg = pv_xasprintf("the kernel of a VM: %zu more report%s than are kept", n, n == 1 ? "" : "s");
    else if (n == 1)
        *msg = pv_xasprintf("the kernel of %s: %s", first->guest->name, first->headline);
    else
        *msg = pv_xasprintf("the kernel of %s: %s (and %zu more report%s)", first->guest->name,
                            first->headline, n - 1, n == 2 ? "" : "s");
}

void pv_lua_free_findings(struct pv_lua *pl)
{
    while (pl->findings) {
        struct lua_finding *f = pl->findings;

        pl->findings = f->next;
        free(f->headline);
        free(f->excerpt);
        free(f);
    }
}

/* ---- for tests ---- */

static LJMP void push_finding(lua_State *L, const struct lua_finding *f)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, f->kind);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, pv_class_name(f->cls));
    lua_setfield(L, -2, "class");
    lua_pushstring(L, f->headline);
    lua_setfield(L, -2, "headline");
    lua_pushstring(L, f->excerpt);
    lua_setfield(L, -2, "text");
}

/* vm:reports() */
int pv_lua_vm_reports(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "reports");
    struct pv_lua *pl = pv_lua_of(L);
    lua_Integer n = 0;

    pv_guest_settle_findings(g->g);
    lua_newtable(L);
    for (const struct lua_finding *f = pl->findings; f; f = f->next)
        if (f->guest == g) {
            push_finding(L, f);
            lua_rawseti(L, -2, ++n);
        }
    return 1;
}

/* The text at 2, "" when there is none: that fits every report. */
static LJMP const char *check_text(lua_State *L, const char *what)
{
    return lua_isnoneornil(L, 2) ? "" : pv_lua_check_cstring(L, 2, what);
}

/* vm:allow_report(text?) */
int pv_lua_vm_allow_report(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "allow_report");
    const char *text = check_text(L, "the text for allow_report");
    struct pv_lua *pl = pv_lua_of(L);
    size_t n = 0;

    while (g->allowed && g->allowed[n])
        n++;
    g->allowed = pv_xrealloc(g->allowed, (n + 2) * sizeof(*g->allowed));
    g->allowed[n] = pv_xstrdup(text);
    g->allowed[n + 1] = NULL;
    pv_guest_settle_findings(g->g);
    for (struct lua_finding *f = pl->findings; f; f = f->next)
        if (f->guest == g && f->test_id == running_test(pl) && holds(f->headline, f->excerpt, text))
            handle(pl, f);
    return 0;
}

struct report_wait {
    struct lua_guest *g;
    struct lua_expect *e;
};

static bool report_came(void *arg)
{
    const struct report_wait *w = arg;

    if (!w->e->first)
        pv_guest_settle_findings(w->g->g);
    return w->e->first || pv_lua_guest_state(w->g) != PV_GUEST_RUNNING;
}

static LJMP int no_report(lua_State *L, const struct lua_guest *g, const char *text, int64_t waited)
{
    const struct lua_finding *last = NULL;
    char took[32];

    for (const struct lua_finding *f = pv_lua_of(L)->findings; f; f = f->next)
        if (f->guest == g)
            last = f;
    snprintf(took, sizeof(took), "%.3g", (double)waited / PV_NSEC_PER_SEC);
    return pv_lua_raise_as(L, PV_CLASS_ASSERTION,
                           "expected a report of %s's kernel%s%s%s within %s s, but there was none%s%s",
                           g->name, *text ? " that holds \"" : "", text, *text ? "\"" : "", took,
                           last ? "; its last one was: " : "", last ? last->headline : "");
}

/*
 * vm:expect_report(text?, fn, {timeout=10}?): what fn makes the kernel say is as it should be.  A panic that
 * is expected ends the VM and so the call that fn makes then: that error is part of it.
 */
int pv_lua_vm_expect_report(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "expect_report");
    struct pv_lua *pl = pv_lua_of(L);
    struct lua_expect e = {.text = check_text(L, "the text for expect_report"), .outer = g->expect};
    struct report_wait w = {g, &e};
    int64_t timeout = 10 * PV_NSEC_PER_SEC;
    struct pv_err err = PV_ERR_INIT;
    int rc;

    lua_settop(L, 4);
    if (!lua_isfunction(L, 3))
        pv_lua_raise(L, "expect_report needs a function as its second argument, got %s",
                     lua_isnil(L, 3) ? "nothing" : pv_lua_describe(L, 3));
    if (pv_lua_check_opts(L, 4, "expect_report", opts))
        timeout = pv_lua_opt_time(L, 4, "expect_report", "timeout", timeout);
    pv_guest_settle_findings(g->g); /* what came before is not meant */
    g->expect = &e;
    lua_pushvalue(L, 3);
    rc = lua_pcall(L, 0, 0, 0);
    if (rc == LUA_OK && !e.first)
        pv_loop_run(pl->loop, report_came, &w, pv_deadline(timeout), &err);
    pv_guest_settle_findings(g->g);
    g->expect = e.outer;
    if (rc != LUA_OK && !(e.first && pv_guest_panicked(g->g) && lua_type(L, -1) == LUA_TSTRING &&
                          pv_lua_class_of(pl, lua_tostring(L, -1)) == PV_CLASS_PANIC))
        return lua_error(L);
    if (err.cls != PV_E_NONE)
        return pv_lua_raise_err(L, &err);
    if (!e.first)
        return no_report(L, g, e.text, timeout);
    push_finding(L, e.first);
    return 1;
}

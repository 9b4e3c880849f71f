/* SPDX-License-Identifier: MIT */
/* Reports of a VM's kernel: reports, allow_report, expect_report. */
#include <stdio.h>

#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "util/clock.h"
#include "util/err.h"

static LJMP void push_finding(lua_State *L, const struct tf_finding *f)
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
    struct tf_guest *g = pv_lua_check_vm(L, "reports");
    lua_Integer n = 0;

    pv_guest_settle_findings(g->g);
    pv_tf_findings_decide(pv_lua_tf(L));
    lua_newtable(L);
    for (const struct tf_finding *f = pv_lua_tf(L)->findings.first; f; f = f->next)
        if (f->guest == g && !f->doubt.first) {
            push_finding(L, f);
            lua_rawseti(L, -2, ++n);
        }
    return 1;
}

/* The text at 2; "", which fits every report, when there is none. */
static LJMP const char *check_report_text(lua_State *L, const char *what)
{
    return lua_isnoneornil(L, 2) ? "" : pv_lua_check_cstring(L, 2, what);
}

/* vm:allow_report(text?) */
int pv_lua_vm_allow_report(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "allow_report");

    pv_tf_findings_allow(pv_lua_tf(L), g, check_report_text(L, "the text for allow_report"));
    return 0;
}

static LJMP int raise_no_report(lua_State *L, const struct tf_expect *e, int64_t waited)
{
    const struct tf_finding *last = pv_tf_finding_last(pv_lua_tf(L), e->g);
    const char *text = e->text;
    char took[32];

    snprintf(took, sizeof(took), "%.3g", (double)waited / PV_NSEC_PER_SEC);
    return pv_lua_raise_as(L, PV_CLASS_ASSERTION,
                           "expected a report of %s's kernel%s%s%s within %s s, but there was none%s%s",
                           e->g->name, *text ? " that holds \"" : "", text, *text ? "\"" : "", took,
                           last ? "; its last one was: " : "", last ? last->headline : "");
}

/*
 * An expected panic ends the VM, and with it the call that the function was in: that error is expected too.  Only
 * the error itself: a text that holds its message may be the output of another VM.
 */
static bool is_expected_panic(lua_State *L, const struct tf_expect *e)
{
    const struct lua_raised *r = pv_lua_raised_at(L, -1);

    return e->first && pv_guest_panicked(e->g->g) && r && r->text == lua_tostring(L, -1) &&
           r->cls == PV_CLASS_PANIC && r->vm == pv_guest_number(e->g->g);
}

/* vm:expect_report(text?, fn, {timeout=10}?): the reports that fn causes are expected. */
int pv_lua_vm_expect_report(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "expect_report");
    struct tf_expect e = {
        .tf = pv_lua_tf(L), .g = g, .text = check_report_text(L, "the text for expect_report")};
    int64_t timeout;
    struct pv_err err;
    int rc, waited = 0;

    lua_settop(L, 4);
    if (!lua_isfunction(L, 3))
        pv_lua_raise(L, "expect_report needs a function as its second argument, got %s",
                     lua_isnil(L, 3) ? "nothing" : pv_lua_describe(L, 3));
    timeout = pv_lua_check_timeout(L, 4, "expect_report", 10 * PV_NSEC_PER_SEC);
    pv_tf_expect_begin(&e);
    lua_pushvalue(L, 3);
    rc = lua_pcall(L, 0, 0, 0);
    if (rc == LUA_OK && !e.first)
        waited = pv_tf_expect_wait(&e, timeout, &err);
    pv_tf_expect_end(&e);
    if (rc != LUA_OK && !is_expected_panic(L, &e))
        return lua_error(L);
    if (waited < 0)
        return pv_lua_raise_err(L, &err);
    if (!e.first)
        return raise_no_report(L, &e, timeout);
    push_finding(L, e.first);
    return 1;
}

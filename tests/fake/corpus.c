/* SPDX-License-Identifier: MIT */
#include "tests/fake/corpus.h"

#include <stdio.h>
#include <string.h>

#include "tests/fake/reports.h"
#include "util/mem.h"

/*
 * Ends of QEMU by itself: of a standby VM that no resume needs, of a VM whose guest may power off then, or of a standby VM
 * that a resume needs and SIGKILL may preempt.
 */
enum { DEATH_FAILS, DEATH_IS_FINE, POWER_OFF_IS_FINE, DEATH_BUT_SIGKILL_FAILS };

/*
 * Ends of agents that no call needs: the port closes, another agent opens it at once or not; QEMU closes its end; only the
 * processes of sessions end, after which the next call gets a new one.
 */
enum { FINE_AGENT = 1, FINE_PORT = 2, FINE_SESSIONS = 4, FINE_ALL = 7 };

/*
 * The script makes N VMs; in the phase the last one gets or sends the nth message `at` of all (0: 2 * N, for a
 * message that each VM gets and sends back).
 */
static const struct phase {
    const char *name, *at;
    unsigned nth;
    int death;
    const char *body;
    const char *fixture; /* fixtures/f.lua; NULL: none */
    unsigned
        fine; /* bits of the kinds of death (FINE) that nobody meets, and that no later call suffers from */
    bool
        ends; /* the VM's run, or it is a standby VM: its kernel's log cannot be asked what a program printed */
} phases[] = {
    {"boot", "HELLO", 0, DEATH_FAILS, "", .fine = FINE_SESSIONS},
    {"exec", "EXEC", 1, DEATH_FAILS, "test('t', function() vms[N]:exec('x') end)"},
    {"write", "WDATA", 1, DEATH_FAILS, "test('t', function() vms[N]:write_file('/x', 'content') end)"},
    {"read", "READ_FILE", 1, DEATH_FAILS, "test('t', function() vms[N]:read_file('/x') end)"},
    {"snapshot", "QUIESCE", 1, DEATH_FAILS, "test('t', function() vms[N]:snapshot() end)",
     .fine = FINE_SESSIONS},
    {"load", "migrate-incoming", 1, DEATH_FAILS, "test('t', function() vms[N]:clone() end)",
     .fine = FINE_SESSIONS},
    {"clone", "RESUME", 1, DEATH_FAILS, "test('t', function() vms[N]:clone():exec('x') end)"},
    {"restore", "cont", 2, DEATH_FAILS,
     "test('t', function() local s = vms[N]:snapshot() vms[N]:restore(s) vms[N]:exec('x') end)",
     .fine = FINE_SESSIONS},
    {"standby", "migrate-incoming", 3, DEATH_IS_FINE,
     "test('t', function()\n"
     "  local s = vms[N]:snapshot()\n"
     "  vms[N]:restore(s) vms[N]:restore(s) provium.sleep(2)\n"
     "end)",
     .fine = FINE_ALL, .ends = true},
    {"fixture", "EXEC", 1, DEATH_FAILS, "test('t', function() provium.fixture('f'):exec('x') end)",
     "local vm = provium.create('fake')\n"
     "vm:boot{memory = '64M'}\n"
     "vm:exec('x')\n"},
    {"cached", "migrate-incoming", 1,
     DEATH_IS_FINE, /* one QEMU is the cause, not the entry, which is resumed again */
     "test('t', function() provium.fixture('f', {timeout = 10}):exec('x') end)",
     "local vm = provium.create('fake')\n"
     "vm:boot{memory = '64M'}\n",
     .fine = FINE_SESSIONS},
    {"reset between tests", "RESUME", 1, DEATH_BUT_SIGKILL_FAILS, /* of a standby VM */
     "provium.reset_between_tests = true\n"
     "for i = 1, 2 do test('t' .. i, function() vms[N]:exec('x') end) end",
     .ends = true},
    {"reset", "system_reset", 1, DEATH_FAILS,
     "test('t', function()\n"
     "  local t = provium.async(function() vms[N]:exec('hang') end)\n"
     "  vms[N]:reset()\n"
     "  assert_error(function() t:wait() end, 'was reset meanwhile, which ended this call')\n"
     "  vms[N]:exec('x')\n"
     "end)",
     .fine = FINE_AGENT, .ends = true},
    {"pause", "stop", 1, DEATH_FAILS,
     "test('t', function() vms[N]:pause() vms[N]:resume() vms[N]:exec('x') end)", .fine = FINE_SESSIONS},
    {"reboot", "SHUTDOWN", 1, DEATH_FAILS, "test('t', function() vms[N]:reboot() vms[N]:exec('x') end)",
     .fine = FINE_AGENT | FINE_SESSIONS, .ends = true},
    {"rebooted", "EXEC", 1, DEATH_FAILS, "test('t', function() vms[N]:reboot() vms[N]:exec('x') end)"},
    {"shutdown", "SHUTDOWN", 1, POWER_OFF_IS_FINE, "test('t', function() vms[N]:shutdown() end)",
     .fine = FINE_ALL, .ends = true},
    {"end", "READ_FILE", 1, POWER_OFF_IS_FINE, "for i = 1, N - 1 do vms[i]:kill() end", .fine = FINE_ALL},
};

static const struct {
    const char *action, *cls;
    unsigned fine; /* FINE */
} deaths[] = {
    {"exit", "qemu-died"},
    {"exit1", "qemu-died"},
    {"sigkill", "qemu-died"},
    {"sigsegv", "qemu-died"},
    {"off", "qemu-died"},
    {"panic", "guest-panic"},
    {"panic-hang", "guest-panic"},
    {"panic-end-hang", "guest-panic"},
    {"agent-ends", "agent-lost", FINE_AGENT},
    {"agent-restarts", "agent-lost", FINE_AGENT},
    {"eof-agent", "agent-lost", FINE_PORT},
    {"sessions-end", "agent-lost", FINE_SESSIONS},
    {"other-ports", ""},
};

struct corpus {
    struct fake_case *cases;
    char **scripts, **titles;
    const char **classes;
    size_t n, cap;
};

/* A program's words on the console are none of the kernel's, where that can be known. */
static const char *report_class(const struct phase *p, const struct fake_report *r)
{
    return r->program && p->ends ? "guest-oops" : r->cls;
}

static void corpus_add(struct corpus *c, const struct phase *p, unsigned vms, const char *action,
                       const char *cls)
{
    size_t i = c->n++;

    if (c->n > c->cap) {
        c->cap = c->cap ? 2 * c->cap : 256;
        c->cases = pv_xrealloc(c->cases, c->cap * sizeof(*c->cases));
        c->scripts = pv_xrealloc(c->scripts, c->cap * sizeof(*c->scripts));
        c->titles = pv_xrealloc(c->titles, c->cap * sizeof(*c->titles));
        c->classes = pv_xrealloc(c->classes, c->cap * sizeof(*c->classes));
    }
    c->scripts[i] =
        pv_xasprintf("local N, vms = %u, {}\n"
                     "for i = 1, N do vms[i] = provium.create('fake') vms[i]:boot{memory = '64M'} end\n"
                     "%s\n",
                     vms, p->body);
    c->titles[i] = pv_xasprintf("corpus: %s with %u VMs", p->name, vms);
    c->classes[i] = cls;
    c->cases[i] = (struct fake_case){.title = c->titles[i],
                                     .script = c->scripts[i],
                                     .fixture = p->fixture,
                                     .at = p->at,
                                     .n = p->nth ? p->nth : 2 * vms,
                                     .action = action};
}

/* NULL: not known. */
static const char *death_class(const struct phase *p, size_t death)
{
    const char *action = deaths[death].action;
    bool orderly = !strcmp(action, "exit") || !strcmp(action, "off");
    bool fine = p->death == DEATH_IS_FINE || (p->death == POWER_OFF_IS_FINE && orderly) ||
                (p->death == DEATH_BUT_SIGKILL_FAILS && !strcmp(action, "sigkill"));

    if (p->fine & deaths[death].fine)
        return "";
    /* The session's end or the reset ends the script's call, whichever is told first. */
    if (!strcmp(p->name, "reset") && deaths[death].fine == FINE_SESSIONS)
        return NULL;
    return fine && !strcmp(deaths[death].cls, "qemu-died") ? "" : deaths[death].cls;
}

/* Whether the i-th kind runs in the n-th phase with that number of VMs in a short run: every other kind does, with one. */
static bool short_has(size_t n, size_t i, unsigned vms)
{
    return (n + i) % 2 == 0 && (n + i) / 2 % 3 + 1 == vms;
}

/* part_fits: whether `only`, a "PHASE:KIND" of the command line, takes the name; either part may be empty or missing. */
static bool part_fits(const char *only, bool kind, const char *name)
{
    const char *at = only ? strchr(only, ':') : NULL;
    size_t n;

    if (!only || (kind && !at))
        return true;
    only = kind ? at + 1 : only;
    n = strcspn(only, ":");
    return n == 0 || (strlen(name) == n && !strncmp(only, name, n));
}

/* n: of the phase; only: as corpus_new. */
static void corpus_add_phase(struct corpus *c, const struct phase *p, bool full, unsigned n, const char *only)
{
    for (unsigned vms = 1; vms <= 3; vms++) {
        for (size_t i = 0; fake_reports[i].name; i++)
            if ((full || short_has(n, i, vms)) && part_fits(only, true, fake_reports[i].name))
                corpus_add(c, p, vms, fake_reports[i].name, report_class(p, &fake_reports[i]));
        for (size_t i = 0; i < PV_ARRAY_LEN(deaths); i++)
            if ((full || short_has(n, i, vms)) && part_fits(only, true, deaths[i].action) &&
                death_class(p, i))
                corpus_add(c, p, vms, deaths[i].action, death_class(p, i));
    }
}

struct corpus *corpus_new(bool full, const char *only)
{
    struct corpus *c = pv_xcalloc(1, sizeof(*c));

    for (unsigned i = 0; i < PV_ARRAY_LEN(phases); i++) {
        if (!part_fits(only, false, phases[i].name))
            continue;
        corpus_add_phase(c, &phases[i], full, i, only);
        if (!strcmp(phases[i].name, "reset") && part_fits(only, true, "slow-reset"))
            corpus_add(c, &phases[i], 1, "slow-reset", "");
    }
    return c;
}

void corpus_free(struct corpus *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->scripts[i]);
        free(c->titles[i]);
    }
    free(c->scripts);
    free(c->titles);
    free(c->classes);
    free(c->cases);
    free(c);
}

struct fake_case *corpus_cases(struct corpus *c, size_t *n)
{
    *n = c->n;
    return c->cases;
}

const char *corpus_class(const struct corpus *c, const struct fake_case *of)
{
    return c->classes[of - c->cases];
}

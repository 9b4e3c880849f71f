/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share.  Functions marked LJMP may raise a Lua error, that is longjmp: no
 * cleanup_* variable and no owned pointer may be live across them (STYLE, habit 5).  What a binding owns
 * while it can raise is in a userdata made by pv_lua_tmp.
 */
#ifndef PV_LUA_INTERNAL_H
#define PV_LUA_INTERNAL_H

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/agent.h"
#include "guest/guest.h"
#include "guest/worker.h"
#include "lua/landing.h"
#include "lua/run.h"
#include "childproto/result.h"

#define LJMP /* may raise */

struct pv_err;
struct pv_loop;

/* A VM or worker of the file. The list owns it; Lua handles point to it. */
struct lua_guest {
    struct pv_guest *g;  /* of a worker the VM that it is in */
    struct pv_worker *w; /* NULL: a VM */
    char name[96];       /* "vm1", "worker 1 (pid 70) of vm1 (minimal)" */
    char *last_tail;     /* what was last sent of its console */
    unsigned lineage;    /* the same for a VM and its clones */
    bool log_said;
    bool forgotten;            /* the collector took its handle */
    char **allowed;            /* texts of kernel reports that are no fault; NULL-terminated, NULL: none */
    struct lua_expect *expect; /* expect_report is waiting */
    struct lua_guest *next;
};

enum { MAX_NESTED_TESTS = 64 };

/* What the kernel of a guest complained of (vm/findings.h). */
struct lua_finding {
    struct lua_guest *guest;
    uint32_t test_id; /* of the sub-test that was running, or PV_NO_TEST */
    uint32_t id;      /* in the report, PV_NO_TEST: not there */
    enum pv_class cls;
    const char *kind;
    char *headline, *excerpt;
    bool fails;   /* unless it is handled */
    bool handled; /* a test expected it */
    bool met;     /* it ended its VM, and a call has told the test so */
    bool follows; /* it came of the finding before it in the same VM */
    struct lua_finding *next;
};

/* A sub-test that is going on. */
struct lua_test {
    uint32_t id;
    char *name;
    int64_t started;
    enum pv_outcome outcome; /* PV_OK, or what skip() and todo() made it */
    char *reason;
    int64_t timeout_ns, deadline; /* 0: none of its own */
};

/* An error that was raised with a class of its own: Lua knows only the text. */
struct lua_raised {
    char *text;
    enum pv_class cls;
};

enum { N_RAISED = 8 };

/* The command that ended last, when it failed and that has not been told yet. */
struct lua_command {
    char vm[96], title[124], words[64]; /* words "": there is none */
    char err[300];                      /* the end of its stderr */
};

/* One file. Reached from every state and coroutine by pv_lua_of. */
struct pv_lua {
    const struct pv_lua_env *env;
    const char *path;        /* of the test file, or of a fixture's script */
    char *dir;               /* its directory */
    struct lua_build *build; /* of the fixture whose script this is; NULL: a test file */
    struct pv_loop *loop;
    struct pv_guest_env guest_env;
    struct lua_landing_alloc landing;
    struct lua_guest *guests; /* in order of creation */
    char doing[256];          /* the call to a guest that is going on, in words; "" when none is */
    uint32_t steps[8];        /* of the timeline, that are going on */
    size_t n_steps;
    bool touched; /* something of Provium was used */
    struct lua_command command;
    size_t n_failed;     /* sub-tests */
    size_t n_deselected; /* sub-tests that --tag and --no-tag did not let run */
    struct lua_test tests[MAX_NESTED_TESTS];
    size_t n_open;
    struct lua_store *store;    /* NULL: no fixture was asked for yet */
    size_t n_tests;             /* begun so far */
    struct lua_reset *reset;    /* NULL: provium.reset_between_tests was never set */
    struct builder_tail *tails; /* consoles of fixtures that could not be built, not yet sent */
    enum pv_outcome outcome;    /* of the file: skip and todo outside of a test */
    char *reason;

    struct lua_finding *findings, **findings_end; /* in order; bounded */
    size_t n_warnings, n_worse;
    size_t n_unkept;          /* came when no more were kept */
    enum pv_class unkept_cls; /* the worst of those that fail, since it was last asked for */

    struct lua_raised raised[N_RAISED]; /* the last ones, a ring */
    unsigned n_raised;
    enum pv_class error_cls; /* of the error that pv_lua_msgh handled last */

    int64_t late_since;   /* the time of a sub-test was over, and it has been told; 0: not */
    char late_doing[256]; /* the call that was going on then */
};

/* The agent process that its requests go to. */
static inline struct pv_agent *pv_lua_agent(const struct lua_guest *g)
{
    return g->w ? pv_worker_agent(g->w) : pv_guest_agent(g->g);
}

static inline enum pv_guest_state pv_lua_guest_state(const struct lua_guest *g)
{
    return g->w ? pv_worker_state(g->w) : pv_guest_state(g->g);
}

static inline void pv_lua_guest_kill(struct lua_guest *g)
{
    if (g->w)
        pv_worker_kill(g->w);
    else
        pv_guest_kill(g->g);
}

static inline struct pv_lua *pv_lua_of(lua_State *L)
{
    return *(struct pv_lua **)lua_getextraspace(L);
}

/* ---- state.c ---- */

/*
 * A loop and a Lua state for pl, of which env, path, dir and build are set; NULL with *err, and pl is closed.
 * pv_lua_close ends the guests and frees all of it.
 */
lua_State *pv_lua_open(struct pv_lua *pl, struct pv_err *err);
void pv_lua_close(struct pv_lua *pl, lua_State *L);
/*
 * Loads the file and runs it: its results on the stack from 1 on, or false and the message of what went wrong
 * on top, its class in pl->error_cls. skip() and todo() are no error: pl->outcome.
 */
bool pv_lua_run(lua_State *L, struct pv_lua *pl, int results);
/* What the file is busy with, for the runner. */
void pv_lua_phase(struct pv_lua *pl, const char *what);

/* Raises with the position of the nearest Lua line of a script. */
LJMP int pv_lua_raise(lua_State *L, const char *fmt, ...);
/* The same; a failure that comes of it has this class, other ones PV_CLASS_LUA. */
LJMP int pv_lua_raise_as(lua_State *L, enum pv_class cls, const char *fmt, ...);
LJMP int pv_lua_raise_err(lua_State *L, const struct pv_err *err);
/* The class of a failure that comes of this error. */
enum pv_class pv_lua_err_class(const struct pv_err *err);
/* What was raised with the text somewhere in msg, as after error("context: " .. e); PV_CLASS_LUA: nothing. */
enum pv_class pv_lua_class_of(const struct pv_lua *pl, const char *msg);
/* True when the value is what skip() and todo() raise. */
bool pv_lua_is_skip(lua_State *L, int idx);
/* Zeroed memory in a userdata that is pushed; fini is called once, when it is collected. */
LJMP void *pv_lua_tmp(lua_State *L, size_t size, void (*fini)(void *p));
/*
 * Finds a host path: an absolute one as it is, others in the working directory, the project root and the
 * test's directory.  False when there is none.
 */
bool pv_lua_find(struct pv_lua *pl, const char *path, char out[static PATH_MAX]);
/* Sends the console tails of all guests that have something new. */
void pv_lua_send_tails(struct pv_lua *pl, uint32_t test_id);

/* Pushes a value as the assertions show it: {code = 5}, bounded. */
LJMP const char *pv_lua_show(lua_State *L, int idx);

/* ---- trace.c ---- */

/* Pushes "FILE:LINE: " of that line, or "". */
LJMP void pv_lua_where(lua_State *L);
/*
 * Message handler for pcall: turns any error value into the text that is reported, with the position behind
 * it ("TEXT\nat FILE:LINE\ncalled from ...", outside of sub-tests in front).  The value of skip() and todo()
 * passes unchanged.
 */
int pv_lua_msgh(lua_State *L);
/* The message of a file that could not be loaded is on top: adds the line of the source that it speaks of. */
LJMP void pv_lua_add_error_line(lua_State *L, const char *path);
/* A command ended; what is kept of it is told with the next error of the same sub-test. */
void pv_lua_note_command(struct pv_lua *pl, const char *vm, const char *title, int code, bool timed_out,
                         const struct pv_buf *err);

/* ---- select.c: test()'s options, and which sub-tests run ---- */

struct lua_test_opts {
    int64_t timeout_ns; /* 0: none */
    bool slow;
    bool wanted, unwanted; /* has a tag of --tag, of --no-tag */
};

/* Reads the table at idx, which may be nil; raises when it is not right. */
LJMP void pv_lua_test_opts(lua_State *L, int idx, struct lua_test_opts *o);
/* Whether --tag and --no-tag let it run here. */
bool pv_lua_test_selected(const struct pv_lua *pl, const struct lua_test_opts *o);
/* Whether those that are slow were asked for. */
bool pv_lua_slow_tests(const struct pv_lua *pl);
/* Why the file is skipped when it has no sub-test that is selected. The caller frees. */
char *pv_lua_none_selected(const struct pv_lua *pl);

/* ---- limit.c: a sub-test's timeout ---- */

/* The absolute time when the first of the sub-tests that are going on runs out of time, or PV_FOREVER. */
int64_t pv_lua_until(const struct pv_lua *pl);
bool pv_lua_expired(const struct pv_lua *pl);
/* Raises what is to be told of it. */
LJMP int pv_lua_raise_expired(lua_State *L);
/* The same if there is anything to tell. */
LJMP void pv_lua_check_expired(lua_State *L);
/* To be called when the sub-tests that are going on, or their deadlines, have changed. */
LJMP void pv_lua_limit_changed(lua_State *L);
/* A wait that the sub-tests that are going on cannot help: they get the time back. */
void pv_lua_limit_waited(struct pv_lua *pl, int64_t ns);
LJMP void pv_lua_open_limit(lua_State *L);

/* ---- options.c ---- */

enum opt_type { OPT_STRING, OPT_INTEGER, OPT_BOOLEAN, OPT_TABLE, OPT_TIME, OPT_MODE };

struct lua_opt {
    const char *name; /* NULL ends the list */
    enum opt_type type;
};

/*
 * Checks that the value at idx is nil, absent, or a table with no keys but these, each of its type; false
 * when there is no table.  `what` is the kind of option: "boot" gives "unknown boot option 'x'".
 */
LJMP bool pv_lua_check_opts(lua_State *L, int idx, const char *what, const struct lua_opt *opts);
/* Below: the named field of a table that was checked; the default when it is nil. */
LJMP int64_t pv_lua_opt_time(lua_State *L, int idx, const char *what, const char *name, int64_t dflt);
LJMP uint32_t pv_lua_opt_mode(lua_State *L, int idx, const char *what, const char *name, uint32_t dflt);
LJMP bool pv_lua_opt_bool(lua_State *L, int idx, const char *name, bool dflt);
/* Pushes the field of a table without asking its metatable, so that what is pushed stays in the table. */
LJMP int pv_lua_rawfield(lua_State *L, int idx, const char *name);
/* pv_lua_find, or an error that begins with `what`. */
LJMP void pv_lua_find_host(lua_State *L, const char *path, const char *what, char found[static PATH_MAX]);
/* Pushes a short rendering of a value for a message: string "two", table, nil. */
LJMP const char *pv_lua_describe(lua_State *L, int idx);
/* A string without NUL bytes at idx, or an error that calls it `what`. */
LJMP const char *pv_lua_check_cstring(lua_State *L, int idx, const char *what);

/* ---- the modules: each adds its globals ---- */

LJMP void pv_lua_open_strings(lua_State *L);
LJMP void pv_lua_open_test(lua_State *L);
LJMP void pv_lua_open_assert(lua_State *L);
LJMP void pv_lua_open_vm(lua_State *L);
LJMP void pv_lua_open_scripts(lua_State *L);

/* The table whose address is what skip() and todo() raise: pushes it. */
LJMP void pv_lua_push_skip(lua_State *L);
/* The C function behind test(); tracebacks stop there. */
int pv_lua_test(lua_State *L);
/* All sub-tests that are going on have failed (os.exit). */
void pv_lua_fail_open_tests(struct pv_lua *pl, const char *msg);

/* ---- findings.c: what guests' kernels complain of ---- */

/* The guests' environment calls it. */
void pv_lua_on_finding(const struct pv_guest *g, const struct pv_finding *finding, void *arg);
/* Reads all consoles as far as they are written; to be called where another sub-test begins or one ends. */
void pv_lua_settle_findings(struct pv_lua *pl);
/*
 * The verdict on a sub-test, or on the file with PV_NO_TEST, in the light of what was found during it:
 * changes outcome, class and message (*msg: the caller frees; it may be NULL).
 */
void pv_lua_judge_findings(struct pv_lua *pl, uint32_t test_id, enum pv_outcome *outcome, enum pv_class *cls,
                           char **msg);
/* An error is raised that says why a guest died: what its kernel said of that is known to the test. */
void pv_lua_met_death(struct pv_lua *pl, const struct pv_err *err);
void pv_lua_free_findings(struct pv_lua *pl);
/* Marks the running sub-test, or the file when there is none, and leaves it; reason NULL: none. */
LJMP int pv_lua_leave(lua_State *L, enum pv_outcome outcome, const char *reason);

/* pool.c: for pv_guest_env. */
int pv_lua_pool_take(const char *vm, uint64_t memory, unsigned cpus, const char *standby, void *arg,
                     struct pv_err *err);
int pv_lua_pool_stand_by(const char *vm, uint64_t memory, unsigned cpus, void *arg, struct pv_err *err);
void pv_lua_pool_stand_by_process(const char *vm, int pidfd, void *arg);
int pv_lua_pool_stand_by_claim(const char *vm, void *arg, struct pv_err *err);
void pv_lua_pool_give(const char *vm, void *arg);

/* vm.c: ends all guests; their handles stay valid and say "killed". */
void pv_lua_kill_guests(struct pv_lua *pl);
void pv_lua_free_guests(struct pv_lua *pl);

#endif

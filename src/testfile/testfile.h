/* SPDX-License-Identifier: MIT */
/*
 * The runtime of one test file, or of one fixture's script in its builder: VMs, sub-tests, findings,
 * timeline, fixtures, the client of the pool.  It knows no Lua; src/lua is the binding on top of it.
 *
 *     struct pv_testfile tf = {.env = env, .path = path, .dir = pv_path_dirname(path)};
 *     if (pv_testfile_open(&tf, &err) < 0) ...
 *     ... run the script ...
 *     pv_testfile_close(&tf);
 */
#ifndef PV_TESTFILE_TESTFILE_H
#define PV_TESTFILE_TESTFILE_H

#include <stdbool.h>
#include <sys/resource.h>

#include "guest/guest.h"
#include "childproto/result.h"
#include "testfile/builder-link.h"
#include "testfile/command.h"
#include "testfile/context.h"
#include "testfile/env.h"
#include "testfile/core.h"
#include "testfile/coverage.h"
#include "testfile/deaths.h"
#include "testfile/findings.h"
#include "testfile/guests.h"
#include "testfile/journal.h"
#include "testfile/kcov.h"
#include "testfile/live.h"
#include "testfile/reads.h"
#include "testfile/reset.h"
#include "testfile/rules.h"
#include "testfile/save.h"
#include "testfile/store.h"
#include "testfile/tails.h"
#include "testfile/tests.h"
#include "testfile/timeline.h"

struct pv_err;
struct pv_loop;
struct tf_net;
struct tf_recording;
struct tf_router;

/* reason: the parts of a run, each with its own header */
struct pv_testfile {
    /* set by the caller of pv_testfile_open */
    const struct pv_testfile_env *env;
    const char *path;           /* of the script */
    char *dir;                  /* its directory; owned */
    struct tf_builder *builder; /* of the fixture whose script this is; NULL: a test file */
    struct tf_reads *reads;     /* in a builder; else NULL */

    struct rlimit own_files; /* RLIMIT_NOFILE before pv_testfile_open raised it; for host commands */
    struct pv_loop *loop;
    struct pv_guest_env guest_env;
    bool touched; /* the script used something of Provium: it is no helper library */
    struct tf_guests guests;
    struct tf_net *nets; /* in order of creation */
    struct tf_router *routers;
    struct tf_tests tests;
    struct tf_findings findings;
    struct tf_deaths deaths;
    struct tf_timeline timeline; /* of the running context, like the next two */
    struct tf_command command;
    struct tf_scope scope;
    struct tf_context *contexts; /* of tasks */
    struct tf_pool pool;
    struct tf_tails tails; /* of fixtures that could not be built, to be sent */
    struct tf_store store;
    struct tf_reset reset;
    struct tf_rules rules;
    struct tf_journal journal;
    struct tf_save save;
    struct tf_cores cores;
    struct tf_coverage coverage;
    struct tf_kcov kcov;
    struct tf_recording *recordings; /* of boots that will be kept */
    struct tf_live live;
};

/* Makes the loop and the guests' environment. -1 with *err (class host): to be closed all the same. */
int pv_testfile_open(struct pv_testfile *tf, struct pv_err *err);
/*
 * Ends all VMs.  Their entries stay until pv_testfile_close, because handles of the script, which are still
 * to be collected, point to them.
 */
void pv_testfile_end_guests(struct pv_testfile *tf);
/* Frees all, dir too. Blocks only as long as QEMU processes take to die. */
void pv_testfile_close(struct pv_testfile *tf);

#endif

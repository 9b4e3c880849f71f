/* SPDX-License-Identifier: MIT */
#include "lua/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "lua/debug.h"
#include "lua/open.h"
#include "testfile/select.h"
#include "testfile/verdict.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

int pv_lua_run_file(const struct pv_testfile_env *env, const char *path)
{
    struct pv_testfile tf = {.env = env, .path = path, .dir = pv_path_dirname(path)};
    cleanup_free char *msg = NULL;
    struct pv_err err = PV_ERR_INIT;
    enum pv_outcome outcome;
    enum pv_class cls;
    struct pv_lua pl;
    lua_State *L = pv_lua_open(&pl, &tf, &err);
    bool ok;

    if (!L) {
        pv_result_file(env->result, PV_FAIL, PV_CLASS_HARNESS, err.text);
        return 1;
    }
    ok = pv_lua_run(L, &pl, 0);
    if (!ok)
        msg = pv_xstrdup(pv_lua_message(L, -1));
    else if (tf.tests.reason)
        msg = pv_xstrdup(tf.tests.reason);
    cls = ok ? PV_CLASS_NONE : pl.error_cls;
    pv_tf_coverage_take_all(&tf);
    pv_tf_findings_sync(&tf);
    pv_tf_save_reported(&tf);
    if (pv_tf_file_outcome(&tf, ok) == PV_FAIL)
        pv_lua_debug_keep(L);
    pv_tf_kcov_write(&tf);
    pv_lua_end(&pl, L); /* from here on no kernel can report anything */
    outcome = pv_tf_file_outcome(&tf, ok);
    if (outcome == PV_SKIP && !msg && tf.tests.outcome == PV_OK)
        msg = pv_tf_none_selected(&tf);
    pv_tf_file_judge(&tf, &outcome, &cls, &msg);
    pv_testfile_close(&tf);
    fflush(stdout);
    pv_result_file(env->result, outcome, cls, msg);
    return outcome == PV_FAIL;
}

/* SPDX-License-Identifier: MIT */
#include "testfile/testfile.h"

#include <stdlib.h>

#include "guest/standby.h"
#include "loop/loop.h"
#include "testfile/netrouter.h"
#include "testfile/nets.h"
#include "testfile/observer.h"
#include "testfile/pool.h"

/* Each VM needs about ten descriptors. */
static void raise_descriptor_limit(struct rlimit *own)
{
    struct rlimit raised;

    if (getrlimit(RLIMIT_NOFILE, own) < 0)
        *own = (struct rlimit){0, 0};
    raised = *own;
    raised.rlim_cur = own->rlim_max;
    if (own->rlim_cur < own->rlim_max)
        setrlimit(RLIMIT_NOFILE, &raised);
}

int pv_testfile_open(struct pv_testfile *tf, struct pv_err *err)
{
    raise_descriptor_limit(&tf->own_files);
    tf->loop = pv_loop_new(err);
    if (!tf->loop)
        return -1;
    tf->guest_env.host = (struct pv_guest_host){
        .loop = tf->loop,
        .accel = tf->env->accel,
        .auto_transport = tf->builder || tf->env->save_dir ? PV_TRANSPORT_SERIAL : PV_TRANSPORT_AUTO,
        .log_dir = tf->env->log_dir,
    };
    pv_tf_pool_connect(tf);
    pv_tf_observe(tf);
    pv_tf_cores_connect(tf);
    pv_tf_kcov_connect(tf);
    if (!tf->builder && tf->env->config && tf->env->config->standby)
        tf->guest_env.standby_pool = pv_standby_pool_new(&tf->guest_env);
    return 0;
}

void pv_testfile_end_guests(struct pv_testfile *tf)
{
    pv_standby_pool_free(tf->guest_env.standby_pool);
    tf->guest_env.standby_pool = NULL;
    pv_tf_guests_kill(&tf->guests);
}

void pv_testfile_close(struct pv_testfile *tf)
{
    pv_testfile_end_guests(tf);
    pv_tf_reset_free(&tf->reset);
    pv_tf_tails_free(&tf->tails);
    pv_tf_findings_free(&tf->findings);
    pv_tf_deaths_free(&tf->deaths);
    pv_tf_rules_free(&tf->rules);
    pv_tf_journal_free(&tf->journal);
    pv_tf_guests_free(&tf->guests);
    pv_tf_cores_free(&tf->cores);
    pv_tf_kcov_free(&tf->kcov);
    pv_tf_routers_free(tf);
    pv_tf_nets_free(tf);
    pv_tf_store_close(&tf->store);
    pv_loop_free(tf->loop);
    tf->loop = NULL;
    pv_tf_tests_free(&tf->tests);
    free(tf->dir);
    tf->dir = NULL;
}

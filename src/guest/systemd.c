/* SPDX-License-Identifier: MIT */
#include "guest/systemd.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "config/config.h"
#include "guest/agent.h"
#include "guest/guest-state.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

#define LOOK_PAUSE (250 * PV_NSEC_PER_MSEC)
#define LOOK_TIME (10 * PV_NSEC_PER_SEC) /* of one systemctl, which waits for systemd's bus */
#define DETAIL_TIME (5 * PV_NSEC_PER_SEC)

enum { DETAIL_MAX = 600 };

/* Runs systemctl with one argument and perhaps more; its stdout without what is behind the last line is added to out. */
static int systemctl(struct pv_guest *g, const char *const *argv, int64_t time, struct pv_buf *out,
                     struct pv_err *err)
{
    struct pv_exec x = {.timeout_ns = time};
    struct pv_exec_result r = {0};
    int rc;

    for (; *argv; argv++)
        pv_strv_add(&x.argv, *argv);
    rc = pv_agent_exec(&g->agent, &x, &r, err);
    if (rc == 0 && r.out.len)
        pv_buf_add(out, r.out.data, r.out.len);
    while (out->len && strchr(" \n", out->data[out->len - 1]))
        out->data[--out->len] = '\0';
    pv_exec_result_fini(&r);
    pv_strv_free(&x.argv);
    return rc;
}

/*
 * "; TITLE: LINE, LINE", harmless in a message; nothing when there are none or systemctl does not say.  names: of each line
 * the first word.
 */
static void add_list(struct pv_guest *g, const char *title, bool names, const char *const *argv,
                     struct pv_buf *text)
{
    cleanup_buf struct pv_buf list = {0};

    if (systemctl(g, argv, DETAIL_TIME, &list, NULL) < 0 || !list.len)
        return;
    if (list.len > DETAIL_MAX)
        list.data[list.len = DETAIL_MAX] = 0;
    pv_buf_addf(text, "; %s: ", title);
    for (size_t i = 0; i < list.len; i++) {
        char c = list.data[i];

        if (names && c == ' ') {
            i += strcspn(list.data + i, "\n") - 1;
            continue;
        }
        if (c == '\n')
            pv_buf_adds(text, ", ");
        else if (c != ' ' || (i && list.data[i - 1] != ' '))
            pv_buf_addc(text, c >= 0x20 && c < 0x7f ? c : '?');
    }
}

static void add_failed(struct pv_guest *g, struct pv_buf *text)
{
    static const char *const failed[] = {"systemctl",   "list-units", "--failed", "--plain",
                                         "--no-legend", "--no-pager", NULL};

    add_list(g, "failed", true, failed, text);
}

/* Not up, at its deadline or for good. */
static int system_is_not_up(struct pv_guest *g, const char *what, enum pv_err_class cls, struct pv_err *err)
{
    static const char *const jobs[] = {"systemctl", "list-jobs", "--no-legend", "--no-pager", NULL};
    cleanup_buf struct pv_buf text = {0};

    add_list(g, "its jobs", false, jobs, &text);
    add_failed(g, &text);
    return pv_err_set(err, cls, "wait_system: %s%s", what, text.data ? text.data : "");
}

static void tell_degraded(struct pv_guest *g)
{
    cleanup_buf struct pv_buf text = {0};

    pv_buf_addf(&text, "%s: systemd is degraded", g->name);
    add_failed(g, &text);
    if (g->env->observer.notice)
        g->env->observer.notice(text.data, g->env->observer.arg);
}

int pv_guest_await_systemd(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    static const char *const ask[] = {"systemctl", "is-system-running", NULL};

    for (;;) {
        cleanup_buf struct pv_buf state = {0};
        int64_t left = pv_left(deadline);
        struct pv_err e = PV_ERR_INIT;

        if (systemctl(g, ask, left < LOOK_TIME ? left : LOOK_TIME, &state, &e) < 0) {
            bool none = e.cls == PV_E_GUEST && e.errnum == ENOENT;

            /* The root of the user's initrd, without systemctl, may give way to another one. */
            if (none && (!pv_profile_switch_root(g->profile) || pv_left(deadline) <= 1))
                return pv_err_set(err, PV_E_USAGE, "wait_system needs systemd, and %s has no systemctl",
                                  g->name);
            if (!none && e.cls != PV_E_TIMEOUT) {
                if (err)
                    *err = e;
                return -1;
            }
        }
        if (state.len && !strcmp(state.data, "running"))
            return 0;
        if (state.len && !strcmp(state.data, "degraded")) {
            tell_degraded(g);
            return 0;
        }
        if (state.len && !strcmp(state.data, "maintenance"))
            return system_is_not_up(g, "systemd is in its maintenance mode", PV_E_GUEST, err);
        /* Any other state is on its way, offline too: systemd has not begun yet. */
        if (pv_left(deadline) <= 1)
            return system_is_not_up(g, "systemd was not up at the end of the boot's time", PV_E_TIMEOUT, err);
        pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(LOOK_PAUSE), NULL);
    }
}

/* SPDX-License-Identifier: MIT */
/* STATUS: how a session or worker ended. */
#include "agent/verb.h"

#include <errno.h>

#include "agent/process-table.h"
#include "agent/util.h"

enum { STATUS_MS = 300 };

static bool status_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    pid_t pid = (pid_t)pv_dec_u32(d);

    if (!pv_dec_done(d))
        return false;
    struct ag_slot *slot = s->w.table && pid > 0 ? ag_process_table_find(s->w.table, pid) : NULL;

    if (!slot) {
        ag_reply_error(s, id, ESRCH, "status of process %d", (int)pid);
        return true;
    }
    /* The host sees the connection's end before the supervisor can wait for the process. */
    for (int i = 0; i < STATUS_MS && slot->state == AG_SLOT_RUNS && pid != s->pid; i++)
        ag_sleep_ms(1);
    ag_reply_state(s, id, slot->state == AG_SLOT_RUNS, slot->status);
    return true;
}

const struct ag_verb ag_verb_status = {.message = PV_MSG_STATUS, .start = status_start};

/* SPDX-License-Identifier: MIT */
#include "guest/agent.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/session.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

#define SYNC_LIMIT PV_NSEC_PER_SEC

void pv_guest_sync_console(struct pv_guest *g)
{
    const struct pv_session *s = pv_agent_session(&g->agent);
    cleanup_buf struct pv_buf consoles = {0};
    struct pv_err err;

    if (pv_guest_state(g) != PV_GUEST_RUNNING || pv_guest_panic_suspected(g) || !s ||
        s->state != PV_SESSION_OPEN || s->id)
        return;
    /*
     * The kernel takes its console lock to read this file, and who holds that lock prints all records before it
     * releases it.  Without /proc the reply is an error, which only says that the agent has got this far.
     */
    if (pv_agent_read_file(&g->agent, "/proc/consoles", SYNC_LIMIT, &consoles, &err) < 0)
        pv_debug(g->name, "console: %.200s", err.text);
}

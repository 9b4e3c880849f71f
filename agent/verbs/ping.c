/* SPDX-License-Identifier: MIT */
/* PING: replies PONG with the same bytes, also while another request is worked on. */
#include "agent/verb.h"

static size_t ping_reply_room(uint32_t n)
{
    return n;
}

static bool ping_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    size_t n;
    const void *data = pv_dec_bytes(d, &n);

    if (!pv_dec_done(d))
        return false;
    struct pv_enc e = ag_frame_begin(s, PV_MSG_PONG, PV_FRAME_HEADER + 8 + n);

    pv_enc_u32(&e, id);
    pv_enc_bytes(&e, data, n);
    ag_frame_end(s, &e);
    return true;
}

const struct ag_verb ag_verb_ping = {
    .message = PV_MSG_PING, .any_time = true, .reply_room = ping_reply_room, .start = ping_start};

/* SPDX-License-Identifier: MIT */
#include "guest/follow.h"

#include "guest/call.h"
#include "guest/guest-state.h"
#include "guest/held.h"
#include "util/spool.h"

struct pv_follow {
    struct pv_held h;
    struct pv_spool *spool;
};

static void follow_fini(struct pv_held *h)
{
    struct pv_follow *f = PV_CONTAINER_OF(h, struct pv_follow, h);

    pv_spool_unref(f->spool);
    free(f);
}

static int follow_frame(struct pv_held *h, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    const void *data;
    size_t n;

    if (type != PV_MSG_DATA)
        return pv_call_unexpected(type, err);
    data = pv_dec_bytes(d, &n);
    if (!pv_dec_done(d))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed data frame");
    pv_spool_add(PV_CONTAINER_OF(h, struct pv_follow, h)->spool, data, n);
    return 0;
}

struct pv_follow *pv_follow_open(struct pv_agent *a, const char *path, uint32_t from, uint64_t offset,
                                 const char *opened, struct pv_err *err)
{
    struct pv_follow *f;
    struct pv_enc e;

    if (pv_call_check_path(path, err) < 0)
        return NULL;
    f = pv_xcalloc(1, sizeof(*f));
    f->h = (struct pv_held){.what = pv_xasprintf("the stream of '%.200s'", path),
                            .opened = opened ? pv_xstrdup(opened) : NULL,
                            .frame = follow_frame,
                            .fini = follow_fini};
    f->spool = pv_spool_new(a->guest->env->host.log_dir, 0, 0);
    if (pv_held_begin(&f->h, a, PV_MSG_FOLLOW, "follow a file", &e, err) == 0) {
        pv_enc_u32(&e, from);
        pv_enc_u64(&e, offset);
        pv_enc_str(&e, path);
        if (pv_held_start(&f->h, &e, "follow", err) == 0)
            return f;
    }
    pv_held_unref(&f->h);
    return NULL;
}

void pv_follow_close(struct pv_follow *f)
{
    pv_held_close(&f->h);
    pv_held_unref(&f->h);
}

struct pv_spool *pv_follow_spool(const struct pv_follow *f)
{
    return f->spool;
}

bool pv_follow_is_open(struct pv_follow *f)
{
    return pv_held_is_open(&f->h);
}

void pv_follow_why(struct pv_follow *f, struct pv_err *err)
{
    if (f->h.state == PV_HELD_LOST)
        pv_held_why(&f->h, "follow a file", err);
    else if (err)
        *err = f->h.err;
}

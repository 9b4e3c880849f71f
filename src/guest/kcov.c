/* SPDX-License-Identifier: MIT */
#include "guest/kcov.h"

#include <endian.h>
#include <string.h>

#include "guest/guest-state.h"
#include "util/err.h"
#include "util/mem.h"
#include "wire/codec.h"

bool pv_kcov_wanted(const struct pv_guest *g)
{
    return g->env->coverage.executed != NULL;
}

int pv_kcov_frame(const struct pv_guest *g, struct pv_dec *d, struct pv_err *err)
{
    cleanup_free uint64_t *pcs = NULL;
    uint32_t full = pv_dec_u32(d);
    size_t n;
    const uint8_t *bytes = pv_dec_bytes(d, &n);

    if (!pv_kcov_wanted(g))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a COVERAGE that was not asked for");
    if (!pv_dec_done(d) || n % sizeof(*pcs) || !n || full > 1)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed COVERAGE");
    pcs = pv_xcalloc(n / sizeof(*pcs), sizeof(*pcs));
    memcpy(pcs, bytes, n);
    n /= sizeof(*pcs);
    for (size_t i = 0; i < n; i++)
        pcs[i] = le64toh(pcs[i]);
    g->env->coverage.executed(g, pcs, n, full, g->env->coverage.arg);
    return 0;
}

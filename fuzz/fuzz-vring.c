/* SPDX-License-Identifier: MIT */
/*
 * A ring with any bytes.  Input: u8 log2 of the size, u8 ring kind (bit 0: receive), u16 avail.idx, 8 x u16
 * avail.ring, then descriptors.  Memory is two heap blocks, so that a sanitizer detects accesses outside.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/vring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REGION = 0x8000, GPA = 0x1000, AVAIL = 0x4000, USED = 0x5000 };
#define UVA UINT64_C(0x7f0000000000)

static void pop_all(struct pv_vring *r, struct pv_vmem *m, bool writable)
{
    static struct pv_vchain c;
    static uint8_t buf[65536];
    const char *why = NULL;

    for (unsigned i = 0; i < 2048; i++) {
        int got = pv_vring_pop(r, m, writable, &c, &why);
        size_t len = 0;

        if (got < 0 && (!why || !*why))
            abort();
        if (got <= 0)
            break;
        if (c.head >= r->num || c.n > PV_VRING_MAX)
            abort();
        for (unsigned j = 0; j < c.n; j++)
            len += c.iov[j].iov_len;
        if (len != c.len)
            abort();
        if (pv_vchain_read(&c, 0, buf, sizeof(buf)) != (len < sizeof(buf) ? len : sizeof(buf)))
            abort();
        if (writable)
            pv_vchain_write(&c, 44, buf, 5000); /* may overwrite the ring itself */
        pv_vring_push(r, c.head, 44);
        if (!pv_vring_publish(r))
            abort();
        pv_vring_wants_signal(r);
        pv_vring_kicks(r, i & 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_vmem m = {.n = 2};
    struct pv_vring r = {.desc_uva = UVA, .avail_uva = UVA + AVAIL, .used_uva = UVA + USED};
    const char *why;

    if (size < 20)
        return 0;
    for (unsigned i = 0; i < 2; i++)
        m.r[i] = (struct pv_vmem_region){
            .gpa = GPA + i * REGION, .size = REGION, .uva = UVA + i * REGION, .at = calloc(1, REGION)};
    memcpy(m.r[0].at, data + 20, size - 20 < AVAIL ? size - 20 : AVAIL);
    memcpy(m.r[0].at + AVAIL + 2, data + 2, 18);
    r.num = 1U << (data[0] % 11);
    if (pv_vring_map(&r, &m, &why) == 0)
        pop_all(&r, &m, data[1] & 1);
    free(m.r[0].at);
    free(m.r[1].at);
    return 0;
}

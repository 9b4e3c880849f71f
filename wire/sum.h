/* SPDX-License-Identifier: MIT */
/*
 * A 64-bit digest that host and guest init compute alike.  It finds bytes that got lost or changed by accident;
 * against an attacker it proves nothing.  Little-endian hosts only, as the wire.
 *
 *     struct pv_wire_sum s;
 *
 *     pv_wire_sum_init(&s);
 *     pv_wire_sum_add(&s, data, n);            any number of times, in pieces of any size
 *     uint64_t digest = pv_wire_sum_end(&s);   leaves s as it was: more may follow
 */
#ifndef PV_WIRE_SUM_H
#define PV_WIRE_SUM_H

#include <stddef.h>
#include <stdint.h>

enum { PV_SUM_LANES = 4, PV_SUM_BLOCK = 8 * PV_SUM_LANES };

struct pv_wire_sum {
    uint64_t lane[PV_SUM_LANES];
    uint64_t size;              /* of all bytes so far */
    uint8_t rest[PV_SUM_BLOCK]; /* the last size % PV_SUM_BLOCK bytes */
};

void pv_wire_sum_init(struct pv_wire_sum *s);
void pv_wire_sum_add(struct pv_wire_sum *s, const void *data, size_t n);
uint64_t pv_wire_sum_end(const struct pv_wire_sum *s);

#endif

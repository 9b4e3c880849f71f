/* SPDX-License-Identifier: MIT */
/*
 * The print of one CPU, with R or E in front of the names and further lines behind:
 *
 *     CPU#0
 *     RAX=0000000000000000 RBX=ffffc900004639d8 ...
 *     RIP=ffffffff8106ec65 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
 */
#include "vm/cpus.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/hash.h"
#include "util/mem.h"

enum { FLAG_INTERRUPTS = 0x200, PLACES_MAX = 8 };

struct print {
    uint64_t digest, ip, flags;
    bool halted;
};

static uint64_t digest_of(const char *p, const char *end)
{
    return pv_hash(PV_HASH_BEGIN, p, p < end ? (size_t)(end - p) : 0);
}

/* The number behind one of two names between p and end; NULL: there is none. */
static const char *find_number(const char *p, const char *end, const char *name, const char *other,
                               uint64_t *value)
{
    const char *at = strstr(p, name), *at2 = strstr(p, other);

    if (!at || (at2 && at2 < at))
        at = at2;
    if (!at || at >= end)
        return NULL;
    *value = strtoull(at + strlen(name), NULL, 16);
    return at;
}

static bool print_parse(struct print *out, const char *p, const char *end)
{
    uint64_t halted;
    const char *flags;

    if (!find_number(p, end, "RIP=", "EIP=", &out->ip))
        return false;
    flags = find_number(p, end, "RFL=", "EFL=", &out->flags);
    if (!flags || !find_number(flags, end, "HLT=", "HLT=", &halted))
        return false;
    out->digest = digest_of(p, flags + strcspn(flags, " "));
    out->halted = halted != 0;
    return true;
}

static bool cpus_add_print(struct pv_cpus *c, size_t i, const struct print *print)
{
    struct pv_cpu *cpu;

    if (print->flags & FLAG_INTERRUPTS)
        return false;
    if (c->n == 0) {
        c->cpu = pv_xrealloc(c->cpu, (i + 1) * sizeof(*c->cpu));
        c->cpu[i] = (struct pv_cpu){.halted = true};
        c->n_cpus = i + 1;
    }
    cpu = &c->cpu[i];
    cpu->digest[c->n] = print->digest;
    cpu->ip = print->ip;
    cpu->halted &= print->halted;
    return true;
}

bool pv_cpus_add(struct pv_cpus *c, const char *text)
{
    const char *at = strstr(text, "CPU#");
    size_t i = 0;

    if (c->n == PV_CPUS_SAMPLES)
        return false;
    for (; at && i < PV_CPUS_MAX && (c->n == 0 || i < c->n_cpus); i++) {
        const char *next = strstr(at + 1, "CPU#");
        struct print print;

        if (!print_parse(&print, at, next ? next : at + strlen(at)) || !cpus_add_print(c, i, &print))
            return false;
        at = next;
    }
    if (at || !i || i != c->n_cpus)
        return false;
    c->n++;
    return true;
}

static bool cpu_repeats(const struct pv_cpu *cpu, size_t n)
{
    size_t distinct = 0;

    for (size_t i = 0; i < n; i++) {
        size_t j = 0;

        while (j < i && cpu->digest[j] != cpu->digest[i])
            j++;
        distinct += j == i;
    }
    return distinct <= n / 2;
}

enum pv_cpus_verdict pv_cpus_judge(const struct pv_cpus *c)
{
    bool halted = true;

    if (c->n < PV_CPUS_ENOUGH)
        return PV_CPUS_UNKNOWN;
    for (size_t i = 0; i < c->n_cpus; i++) {
        halted &= c->cpu[i].halted;
        if (!c->cpu[i].halted && !cpu_repeats(&c->cpu[i], c->n))
            return PV_CPUS_UNKNOWN;
    }
    return halted ? PV_CPUS_HALTED : PV_CPUS_SPINNING;
}

void pv_cpus_places(const struct pv_cpus *c, struct pv_buf *out)
{
    for (size_t i = 0; i < c->n_cpus && i < PLACES_MAX; i++)
        pv_buf_addf(out, "%sCPU %zu at %" PRIx64, i ? ", " : "", i, c->cpu[i].ip);
    if (c->n_cpus > PLACES_MAX)
        pv_buf_addf(out, " and %zu more", c->n_cpus - PLACES_MAX);
}

void pv_cpus_fini(struct pv_cpus *c)
{
    free(c->cpu);
    *c = (struct pv_cpus){0};
}

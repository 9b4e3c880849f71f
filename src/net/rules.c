/* SPDX-License-Identifier: MIT */
/* Partitions and impairments: lists of rules, each for a direction or for all from or to an end. */
#include <stdlib.h>

#include "net/internal.h"
#include "util/mem.h"

static struct net_rule **rule_find(struct net_rule **list, const struct pv_net_end *from,
                                   const struct pv_net_end *to)
{
    while (*list && ((*list)->from != from || (*list)->to != to))
        list = &(*list)->next;
    return list;
}

static struct net_rule *rule_get(struct net_rule **list, struct pv_net_end *from, struct pv_net_end *to)
{
    struct net_rule **at = rule_find(list, from, to);
    if (!*at) {
        *at = pv_xcalloc(1, sizeof **at);
        (*at)->from = from;
        (*at)->to = to;
    }
    return *at;
}

static void rule_free(struct net_rule **at)
{
    struct net_rule *r = *at;
    if (r) {
        *at = r->next;
        free(r);
    }
}

/* Frees the rules with this end; NULL: all. */
static void rules_free(struct net_rule **list, const struct pv_net_end *end)
{
    while (*list) {
        if (!end || (*list)->from == end || (*list)->to == end)
            rule_free(list);
        else
            list = &(*list)->next;
    }
}

void net_rules_drop(struct pv_net *net, const struct pv_net_end *end)
{
    rules_free(&net->partitions, end);
    rules_free(&net->impairs, end);
}

bool net_is_partitioned(const struct pv_net *net, const struct pv_net_end *from, const struct pv_net_end *to)
{
    for (const struct net_rule *r = net->partitions; r; r = r->next)
        if ((!r->from || r->from == from) && (!r->to || r->to == to))
            return true;
    return false;
}

const struct pv_impair *net_impairment(const struct pv_net *net, const struct pv_net_end *from,
                                       const struct pv_net_end *to)
{
    static const struct pv_impair none;
    const struct pv_net_end *const ends[][2] = {{from, to}, {from, NULL}, {NULL, to}, {NULL, NULL}};
    for (size_t i = 0; i < PV_ARRAY_LEN(ends); i++)
        for (const struct net_rule *r = net->impairs; r; r = r->next)
            if (r->from == ends[i][0] && r->to == ends[i][1])
                return &r->impair;
    return &none;
}

void pv_net_partition(struct pv_net *net, struct pv_net_end *from, struct pv_net_end *to)
{
    rule_get(&net->partitions, from, to);
}

void pv_net_heal(struct pv_net *net, struct pv_net_end *from, struct pv_net_end *to)
{
    rule_free(rule_find(&net->partitions, from, to));
}

void pv_net_heal_all(struct pv_net *net)
{
    rules_free(&net->partitions, NULL);
}

void pv_net_impair(struct pv_net *net, struct pv_net_end *from, struct pv_net_end *to,
                   const struct pv_impair *i)
{
    rule_get(&net->impairs, from, to)->impair = *i;
}

void pv_net_clear(struct pv_net *net, struct pv_net_end *from, struct pv_net_end *to)
{
    rule_free(rule_find(&net->impairs, from, to));
}

void pv_net_clear_all(struct pv_net *net)
{
    rules_free(&net->impairs, NULL);
}

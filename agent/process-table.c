/* SPDX-License-Identifier: MIT */
#include "process-table.h"

#include <stddef.h>
#include <sys/mman.h>

struct ag_process_table *ag_process_table_new(void)
{
    void *p = mmap(NULL, sizeof(struct ag_process_table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                   -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static bool claim_slot(struct ag_slot *s, unsigned state, unsigned age)
{
    unsigned was = state;

    /* Another process may have claimed it since `state` was read. */
    if (!atomic_compare_exchange_strong(&s->state, &was, AG_SLOT_RUNS))
        return false;
    s->pid = s->group = 0;
    s->session = false;
    s->age = age;
    return true;
}

struct ag_slot *ag_process_table_take(struct ag_process_table *t)
{
    unsigned age = atomic_fetch_add(&t->n, 1);

    for (unsigned i = 0; i < AG_SLOTS_N; i++) {
        struct ag_slot *s = &t->slot[(age + i) % AG_SLOTS_N];
        unsigned state = s->state;

        if (state != AG_SLOT_RUNS && claim_slot(s, state, age))
            return s;
    }
    return NULL;
}

void ag_slot_end(struct ag_slot *s, int status)
{
    s->status = status;
    s->state = AG_SLOT_ENDED;
}

bool ag_process_table_gone(struct ag_process_table *t, pid_t pid, int status)
{
    bool found = false;

    for (unsigned i = 0; i < AG_SLOTS_N; i++) {
        struct ag_slot *s = &t->slot[i];

        if (s->state == AG_SLOT_RUNS && (s->pid == pid || s->group == pid)) {
            found |= s->session;
            ag_slot_end(s, status);
        }
    }
    return found;
}

struct ag_slot *ag_process_table_find(struct ag_process_table *t, pid_t pid)
{
    struct ag_slot *best = NULL;

    for (unsigned i = 0; i < AG_SLOTS_N; i++) {
        struct ag_slot *s = &t->slot[i];

        if (s->state != AG_SLOT_FREE && s->pid == pid && (!best || (int)(s->age - best->age) > 0))
            best = s;
    }
    return best;
}

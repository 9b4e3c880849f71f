/* SPDX-License-Identifier: MIT */
#include "table.h"

#include "agent/verb.h"

#define AG_VERB(file, verb) extern const struct ag_verb ag_verb_##verb;
#include "verbs.def"
#undef AG_VERB

static const struct ag_verb *const verbs[] = {
#define AG_VERB(file, verb) &ag_verb_##verb,
#include "verbs.def"
#undef AG_VERB
};

enum { VERBS_N = sizeof(verbs) / sizeof(verbs[0]) };

const struct ag_verb *ag_verb_of(unsigned message)
{
    for (size_t i = 0; i < VERBS_N; i++)
        if (verbs[i]->message == message)
            return verbs[i];
    return NULL;
}

const struct ag_input *ag_verb_input(const struct ag_verb *verb, unsigned message)
{
    for (size_t i = 0; i < VERBS_N; i++)
        for (size_t k = 0; (!verb || verb == verbs[i]) && k < AG_INPUTS_MAX; k++)
            if (verbs[i]->input[k].message && verbs[i]->input[k].message == message)
                return &verbs[i]->input[k];
    return NULL;
}

/* SPDX-License-Identifier: MIT */
#ifndef PV_AGENT_VERBS_TABLE_H
#define PV_AGENT_VERBS_TABLE_H

#include <stdbool.h>

struct ag_input;
struct ag_verb;

/* The verb that this message starts, or NULL. */
const struct ag_verb *ag_verb_of(unsigned message);
/* The row of a verb's input for this message, or NULL.  verb NULL: of the first verb that takes it. */
const struct ag_input *ag_verb_input(const struct ag_verb *verb, unsigned message);

#endif

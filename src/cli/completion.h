/* SPDX-License-Identifier: MIT */
/* provium completion: words that only the project here knows. */
#ifndef PV_CLI_COMPLETION_H
#define PV_CLI_COMPLETION_H

#include <stdbool.h>

#include "util/mem.h"

/*
 * Adds the words of a kind ("profiles", "fixtures", "tags", "topics") in the working directory's project, sorted; a
 * project that cannot be read has none.  False: no such kind.
 */
bool pv_completion_words(const char *kind, struct pv_strv *words);

#endif

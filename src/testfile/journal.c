/* SPDX-License-Identifier: MIT */
#include "testfile/journal.h"

#include <stdlib.h>

#include "util/clock.h"
#include "util/mem.h"

void pv_tf_journal_add(struct tf_journal *j, const char *vm, const char *text)
{
    struct tf_journal_line *line = &j->lines[j->n++ % TF_JOURNAL];

    line->at = pv_now();
    if (!j->start)
        j->start = line->at;
    free(line->text);
    line->text = pv_xasprintf("%s%s%s", vm ? vm : "", vm && *vm ? ": " : "", text);
}

void pv_tf_journal_list(const struct tf_journal *j, struct pv_strv *list)
{
    for (size_t i = j->n > TF_JOURNAL ? j->n - TF_JOURNAL : 0; i < j->n; i++) {
        const struct tf_journal_line *line = &j->lines[i % TF_JOURNAL];

        pv_strv_addf(list, "%9.3f s  %s", (double)(line->at - j->start) / PV_NSEC_PER_SEC, line->text);
    }
}

void pv_tf_journal_free(struct tf_journal *j)
{
    for (size_t i = 0; i < TF_JOURNAL; i++)
        free(j->lines[i].text);
    *j = (struct tf_journal){.n = 0};
}

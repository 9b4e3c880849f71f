/* SPDX-License-Identifier: MIT */
/* The last calls of a file, in words: the timeline of a file of --save-failed. */
#ifndef PV_TESTFILE_JOURNAL_H
#define PV_TESTFILE_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

struct pv_strv;

enum { TF_JOURNAL = 256 };

struct tf_journal {
    struct tf_journal_line {
        int64_t at;
        char *text;
    } lines[TF_JOURNAL]; /* a ring */
    size_t n;            /* lines so far */
    int64_t start;       /* of the first one */
};

/* vm: NULL or "": none. */
void pv_tf_journal_add(struct tf_journal *j, const char *vm, const char *text);
/* Adds the lines to list, oldest first: "   1.234 s  vm1: booting vm1". */
void pv_tf_journal_list(const struct tf_journal *j, struct pv_strv *list);
void pv_tf_journal_free(struct tf_journal *j);

#endif

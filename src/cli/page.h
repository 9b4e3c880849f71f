/* SPDX-License-Identifier: MIT */
/* Pages of docs as text for a terminal. */
#ifndef PV_CLI_PAGE_H
#define PV_CLI_PAGE_H

#include <stddef.h>
#include <stdio.h>

struct pv_strv;

struct pv_page {
    const char *name, *title;
    const unsigned char *text; /* Markdown */
    size_t len;
};

/*
 * Prints Markdown for a terminal of 80 columns: paragraphs and lists are filled, code is indented, a table's row is its
 * first cell with the others below; comments are left out.
 */
void pv_page_print(FILE *out, const char *text, size_t len);

/* The next entry ("### `NAME(...)`" up to the next heading) at or behind *at, and moves *at behind it; NULL: none. */
const char *pv_page_entry(const struct pv_page *page, size_t *at, size_t *len);
/* The name of an entry.  The caller frees. */
char *pv_page_entry_name(const char *entry);

/* Adds the names of all pages; help.c.  Their number. */
size_t pv_help_pages(struct pv_strv *names);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * TOML text to a tree of nodes in the order of the text.  Only config_toml.cc uses toml++, and it catches all
 * exceptions.  Pure; does not know profiles.
 */
#ifndef PV_CONFIG_CONFIG_TOML_H
#define PV_CONFIG_CONFIG_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;

enum pv_toml_type {
    PV_TOML_TABLE,
    PV_TOML_ARRAY,
    PV_TOML_STRING,
    PV_TOML_INTEGER,
    PV_TOML_FLOAT,
    PV_TOML_BOOL,
    PV_TOML_DATE /* any of TOML's dates and times */
};

struct pv_toml {
    enum pv_toml_type type;
    char *key;             /* "" in an array and at the root */
    size_t key_len;        /* without the terminator; a key may have NUL bytes, then it is truncated there */
    char *str;             /* PV_TOML_STRING; NULL otherwise */
    size_t str_len;        /* without the terminator, likewise */
    int64_t integer;       /* PV_TOML_INTEGER, PV_TOML_BOOL */
    double number;         /* PV_TOML_FLOAT */
    int line;              /* of the key; in an array, of the value; from 1 */
    struct pv_toml *items; /* of a table or an array */
    size_t n_items;
};

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Parses n bytes.  `source` is the file's name for messages.  A syntax error is class usage:
 * "FILE:LINE:COLUMN: description".  The caller frees the tree with pv_toml_free.
 */
struct pv_toml *pv_toml_parse(const char *text, size_t n, const char *source, struct pv_err *err);
void pv_toml_free(struct pv_toml *t); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif

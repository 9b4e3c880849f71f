/* SPDX-License-Identifier: MIT */
/* Source lines in the findings that a report will show (symbols/symbols.h). */
#ifndef PV_TESTFILE_PLACES_H
#define PV_TESTFILE_PLACES_H

struct pv_profile;
struct pv_symbols;
struct pv_testfile;
struct tf_finding;
struct tf_symbols;

/*
 * Sends f's excerpt again with source lines, when its kernel's debug files are at hand; does nothing the second
 * time.  Debug files that are named in the profile and do not fit are told as a notice.  Blocks on the file system,
 * for seconds where DWARF is large: to be called where a sub-test has ended.
 */
void pv_tf_finding_place(struct pv_testfile *tf, struct tf_finding *f);
void pv_tf_symbols_free(struct tf_symbols *list);

/* The debug files of a profile's kernel; the file's. */
struct pv_symbols *pv_tf_symbols(struct pv_testfile *tf, const struct pv_profile *p);

#endif

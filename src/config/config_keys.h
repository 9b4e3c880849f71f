/* SPDX-License-Identifier: MIT */
/* The keys of a [profile.NAME] table: one table of names, types and checks.  Private to config. */
#ifndef PV_CONFIG_CONFIG_KEYS_H
#define PV_CONFIG_CONFIG_KEYS_H

struct pv_err;
struct pv_profile;
struct pv_toml;

/* The file being read. */
struct pv_config_at {
    const char *file; /* path of provium.toml, for messages */
    const char *dir;  /* the base of relative paths in it */
};

/*
 * Fills *p (the caller has set name and line and zeroed the rest) from the table and checks it.  -1: class
 * usage.  The caller calls pv_profile_fini, also after an error.
 */
int pv_profile_read(const struct pv_config_at *at, const struct pv_toml *table, struct pv_profile *p,
                    struct pv_err *err);
void pv_profile_fini(struct pv_profile *p);

#endif

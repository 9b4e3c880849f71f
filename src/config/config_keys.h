/* SPDX-License-Identifier: MIT */
/* The keys of a [profile.NAME] table: one table of names, types and checks.  Private to config. */
#ifndef PV_CONFIG_CONFIG_KEYS_H
#define PV_CONFIG_CONFIG_KEYS_H

struct pv_err;
struct pv_profile;
struct pv_toml;

/* Where in the configuration we are, for messages. */
struct pv_config_at {
    const char *file; /* path of provium.toml */
    const char *dir;  /* what relative paths in it resolve against */
};

/*
 * Fills *p (name and line are set already, the rest is zero) from the table and checks it.  Class usage;
 * what was filled in before an error is the caller's to free with pv_profile_fini.
 */
int pv_profile_read(const struct pv_config_at *at, const struct pv_toml *table, struct pv_profile *p,
                    struct pv_err *err);
void pv_profile_fini(struct pv_profile *p);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The strings of a fixture's recipe, by name, and their present values:
 *
 *     profile.NAME    the profile's values, QEMU, accelerator
 *     env.NAME        an environment variable that the script read: "=VALUE", or "unset"
 *     cwd             the working directory, if a relative path was read
 *     provium         the version
 *
 * Provium itself (with the agent in it) and QEMU are files of the recipe.
 */
#ifndef PV_TESTFILE_INPUTS_H
#define PV_TESTFILE_INPUTS_H

#include "config/config.h"
#include "util/mem.h"

struct pv_inputs;

#define TF_INPUT_PROFILE "profile."
#define TF_INPUT_ENV "env."
#define TF_INPUT_CWD "cwd"
#define TF_INPUT_VERSION "provium"

/* The sources of present values; the caller sets the first three. */
struct tf_inputs {
    const struct pv_config *config;
    const char *version;
    enum pv_accel accel; /* --accel */
    struct pv_buf value; /* the last one that was asked for */
};

/* Makes *now ask `in`, which must stay where it is. */
void pv_tf_inputs_now(struct tf_inputs *in, struct pv_inputs *now);
void pv_tf_inputs_fini(struct tf_inputs *in);

/* Append the value of one string. */
void pv_tf_input_env(const char *name, struct pv_buf *out);
void pv_tf_input_cwd(struct pv_buf *out);

#endif

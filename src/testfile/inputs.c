/* SPDX-License-Identifier: MIT */
#include "testfile/inputs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture/store.h"
#include "guest/guest.h"

void pv_tf_input_env(const char *name, struct pv_buf *out)
{
    const char *value = getenv(name);

    pv_buf_addf(out, "%s%s", value ? "=" : "unset", value ? value : "");
}

void pv_tf_input_cwd(struct pv_buf *out)
{
    cleanup_free char *cwd = getcwd(NULL, 0);

    pv_buf_adds(out, cwd ? cwd : "none");
}

/* For pv_inputs; NULL: a name of another version of Provium. */
static const char *input_value(const struct pv_fixture_id *id, const char *name, void *arg)
{
    struct tf_inputs *in = arg;
    struct pv_buf *out = &in->value;

    (void)id;
    pv_buf_free(out);
    if (!strncmp(name, TF_INPUT_PROFILE, strlen(TF_INPUT_PROFILE))) {
        const struct pv_profile *p = pv_config_profile(in->config, name + strlen(TF_INPUT_PROFILE), NULL);
        struct pv_guest_host host = {.accel = in->accel};

        if (!p)
            return NULL;
        pv_guest_describe(&host, p, out);
    } else if (!strncmp(name, TF_INPUT_ENV, strlen(TF_INPUT_ENV))) {
        pv_tf_input_env(name + strlen(TF_INPUT_ENV), out);
    } else if (!strcmp(name, TF_INPUT_CWD)) {
        pv_tf_input_cwd(out);
    } else if (!strcmp(name, TF_INPUT_VERSION)) {
        pv_buf_adds(out, in->version);
    } else {
        return NULL;
    }
    return out->data ? out->data : "";
}

void pv_tf_inputs_now(struct tf_inputs *in, struct pv_inputs *now)
{
    *now = (struct pv_inputs){.value = input_value, .arg = in};
}

void pv_tf_inputs_fini(struct tf_inputs *in)
{
    pv_buf_free(&in->value);
}

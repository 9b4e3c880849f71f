/* SPDX-License-Identifier: MIT */
#include "config/guestdir.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

/* True when the binary is in the build directory of a source tree. */
static bool in_source_tree(const char *self)
{
    cleanup_free char *script = pv_path_join(self, "../scripts/setup");

    return access(script, X_OK) == 0;
}

/* The directory that $PROVIUM_GUEST_DIR names; NULL: it names none.  The caller frees. */
static char *guest_of_environment(void)
{
    const char *env = getenv("PROVIUM_GUEST_DIR");
    cleanup_free char *cwd = env && *env ? getcwd(NULL, 0) : NULL;

    return env && *env ? pv_path_join(cwd ? cwd : ".", env) : NULL;
}

/* The same of the user's own data; NULL: neither variable is an absolute path.  The caller frees. */
static char *guest_of_user(void)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

    if (data && *data == '/')
        return pv_path_join(data, "provium/guest");
    return home && *home == '/' ? pv_path_join(home, ".local/share/provium/guest") : NULL;
}

char *pv_guest_home(void)
{
    cleanup_free char *self = pv_self_dir();
    char *env = guest_of_environment();

    if (env)
        return env;
    return self && in_source_tree(self) ? pv_path_join(self, "guest") : guest_of_user();
}

char *pv_guest_dir(void)
{
    cleanup_free char *self = pv_self_dir();
    char *candidates[3] = {guest_of_environment(), NULL, NULL}, *found = NULL;

    if (!candidates[0]) {
        candidates[0] = self ? pv_path_join(self, "guest") : NULL;
        candidates[1] = guest_of_user();
        candidates[2] = self ? pv_path_join(self, "../share/provium/guest") : NULL;
    }
    for (size_t i = 0; i < PV_ARRAY_LEN(candidates); i++) {
        if (candidates[i] && !found) {
            cleanup_free char *kernel = pv_path_join(candidates[i], "vmlinuz");

            if (access(kernel, R_OK) == 0)
                found = pv_steal(&candidates[i]);
        }
        free(candidates[i]);
    }
    return found;
}

const char *pv_guest_command(void)
{
    cleanup_free char *self = pv_self_dir();

    return self && in_source_tree(self) ? "make setup" : "provium setup";
}

void pv_guest_advise(struct pv_err *err)
{
    cleanup_free char *named = guest_of_environment();

    if (named)
        pv_err_append(
            err,
            " where the environment variable PROVIUM_GUEST_DIR says, '%s': there is no 'vmlinuz' in it that "
            "can be read. Run `%s`, which makes one there, or unset the variable",
            named, pv_guest_command());
    else
        pv_err_append(err, ": run `%s`", pv_guest_command());
}

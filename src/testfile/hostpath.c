/* SPDX-License-Identifier: MIT */
#include "testfile/hostpath.h"

#include <stdio.h>
#include <unistd.h>

#include "testfile/testfile.h"
#include "util/mem.h"

bool pv_tf_find(struct pv_testfile *tf, const char *path, char out[static PATH_MAX])
{
    const char *dirs[] = {NULL, tf->env->config ? tf->env->config->dir : NULL, tf->dir};

    for (size_t i = 0; i < PV_ARRAY_LEN(dirs); i++) {
        int n;

        if (i > 0 && (!dirs[i] || path[0] == '/'))
            continue;
        n = dirs[i] ? snprintf(out, PATH_MAX, "%s/%s", dirs[i], path) : snprintf(out, PATH_MAX, "%s", path);
        if (n <= 0 || n >= PATH_MAX)
            continue;
        pv_tf_reads(tf, out);
        if (access(out, F_OK) == 0)
            return true;
    }
    return false;
}

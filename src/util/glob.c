/* SPDX-License-Identifier: MIT */
#include "util/glob.h"

#include <fnmatch.h>
#include <string.h>

#include "util/mem.h"
#include "util/path.h"

/* The first component alone. The caller frees. */
static char *glob_head(const char *s)
{
    return pv_xstrndup(s, strcspn(s, "/"));
}

/* Behind the first component and its slashes; "" at the end. */
static const char *glob_rest(const char *s)
{
    s += strcspn(s, "/");
    return s + strspn(s, "/");
}

static bool glob_components(const char *pattern, const char *path)
{
    cleanup_free char *want = glob_head(pattern), *have = glob_head(path);

    if (!*pattern)
        return !*path;
    if (!strcmp(want, "**"))
        return glob_components(glob_rest(pattern), path) ||
               (*path && glob_components(pattern, glob_rest(path)));
    return *path && fnmatch(want, have, 0) == 0 && glob_components(glob_rest(pattern), glob_rest(path));
}

bool pv_glob_match(const char *pattern, const char *path)
{
    if (!strchr(pattern, '/') && strcmp(pattern, "**") != 0)
        return fnmatch(pattern, pv_path_basename(path), 0) == 0;
    while (!strncmp(pattern, "./", 2))
        pattern = glob_rest(pattern);
    return glob_components(pattern, path);
}

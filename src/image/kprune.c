/* SPDX-License-Identifier: MIT */
#include "image/kprune.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/newfile.h"
#include "util/mem.h"

enum { SOURCE_AGE_S = 30 * 24 * 3600 };

struct entry {
    char *hash;
    time_t used;
};

struct list {
    struct entry *v;
    size_t n;
};

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);

    return n > k && !strcmp(s + n - k, suffix);
}

static void remove_cached(int dir, const char *name, const char *suffix)
{
    cleanup_free char *path = pv_xasprintf("%s%s", name, suffix);

    unlinkat(dir, path, 0);
}

static int newest_first(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return x->used > y->used ? -1 : x->used < y->used;
}

static void prune_or_list(int dir, const char *name, time_t now, time_t age, struct list *l)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return;
    if (!strncmp(name, PV_NEWFILE_PREFIX, strlen(PV_NEWFILE_PREFIX))) {
        if (now - st.st_mtime > age)
            unlinkat(dir, name, 0);
    } else if (has_suffix(name, ".src")) {
        if (now - st.st_mtime > SOURCE_AGE_S)
            unlinkat(dir, name, 0);
    } else if (has_suffix(name, ".ok")) {
        l->v = pv_xrealloc(l->v, (l->n + 1) * sizeof(l->v[0]));
        l->v[l->n++] = (struct entry){pv_xstrndup(name, strlen(name) - 3), st.st_mtime};
    }
}

void pv_kprune(int dir, size_t keep, time_t age)
{
    struct list l = {0};
    time_t now = time(NULL);
    int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    struct dirent *de;

    if (!d) {
        pv_close(&again);
        return;
    }
    while ((de = readdir(d)) != NULL)
        prune_or_list(dir, de->d_name, now, age, &l);
    closedir(d);
    if (l.n)
        qsort(l.v, l.n, sizeof(l.v[0]), newest_first);
    for (size_t i = 0; i < l.n; i++) {
        if (i >= keep && now - l.v[i].used > age) {
            remove_cached(dir, l.v[i].hash, ".ok");
            remove_cached(dir, l.v[i].hash, ".vmlinux");
        }
        free(l.v[i].hash);
    }
    free(l.v);
}

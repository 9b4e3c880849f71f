/* SPDX-License-Identifier: MIT */
#include "util/stamp.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "util/hash.h"
#include "util/mem.h"
#include "util/path.h"

enum { DEPTH_MAX = 64 };

#define STAMP_ABSENT 1

uint64_t pv_stamp_text(const char *text)
{
    return pv_hash(PV_HASH_BEGIN, text, strlen(text));
}

/* A directory's own time and size change with its entries, which are no part of it. */
static uint64_t stamp_of(const char *name, const struct stat *st)
{
    uint64_t h = pv_hash(pv_stamp_text(name), &st->st_mode, sizeof(st->st_mode));

    if (!S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode))
        return h;
    h = pv_hash(h, &st->st_ino, sizeof(st->st_ino));
    h = pv_hash(h, &st->st_dev, sizeof(st->st_dev));
    h = pv_hash(h, &st->st_size, sizeof(st->st_size));
    h = pv_hash(h, &st->st_mtim.tv_sec, sizeof(st->st_mtim.tv_sec));
    return pv_hash(h, &st->st_mtim.tv_nsec, sizeof(st->st_mtim.tv_nsec));
}

/* A sum, because entries come in any order.  prefix: length of the tree's own path. */
static uint64_t stamp_dir(const char *dir, size_t prefix, unsigned depth,
                          void (*visit)(const char *dir, void *arg), void *arg)
{
    uint64_t sum = 0;
    struct dirent *e;
    DIR *d;

    if (visit)
        visit(dir, arg);
    d = depth < DEPTH_MAX ? opendir(dir) : NULL;
    while (d && (e = readdir(d))) {
        cleanup_free char *path = NULL;
        struct stat st;

        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        path = pv_path_join(dir, e->d_name);
        if (lstat(path, &st) < 0)
            continue;
        sum += stamp_of(path + prefix, &st);
        if (S_ISDIR(st.st_mode))
            sum += stamp_dir(path, prefix, depth + 1, visit, arg);
    }
    if (d)
        closedir(d);
    return sum;
}

uint64_t pv_stamp(const char *path, bool tree, void (*visit)(const char *dir, void *arg), void *arg)
{
    struct stat st;
    uint64_t h;

    if (stat(path, &st) < 0)
        return STAMP_ABSENT;
    h = stamp_of("", &st);
    return tree && S_ISDIR(st.st_mode) ? h + stamp_dir(path, strlen(path), 0, visit, arg) : h;
}

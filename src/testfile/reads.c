/* SPDX-License-Identifier: MIT */
#include "testfile/reads.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "fixture/store.h"
#include "testfile/inputs.h"
#include "testfile/testfile.h"
#include "util/path.h"
#include "util/spawn.h"
#include "util/stamp.h"

/* Absolute, without "." and doubled slashes.  ".." stays: a link may be in front of it. */
static char *normal_path(const char *path)
{
    char cwd[PATH_MAX];
    cleanup_free char *full = pv_path_join(path[0] == '/' || !getcwd(cwd, sizeof(cwd)) ? "/" : cwd, path);
    char *to = full;

    for (const char *p = full; *p;) {
        size_t n = strcspn(p, "/");

        if (n && !(n == 1 && p[0] == '.')) {
            *to++ = '/';
            memmove(to, p, n);
            to += n;
        }
        p += n;
        p += strspn(p, "/");
    }
    if (to == full)
        *to++ = '/';
    *to = '\0';
    return pv_steal(&full);
}

/* The script wrote the path, or a directory above it. */
static bool path_is_own(const struct tf_reads *r, const char *path)
{
    for (size_t i = 0; i < r->wrote.n; i++) {
        size_t n = strlen(r->wrote.v[i]);

        if (!strncmp(path, r->wrote.v[i], n) && (path[n] == '/' || !path[n]))
            return true;
    }
    return false;
}

static void reads_note_err(struct tf_reads *r, int rc, const struct pv_err *err)
{
    if (rc < 0 && r->err.cls == PV_E_NONE)
        r->err = *err;
}

void pv_tf_reads_add(struct tf_reads *r, const char *path, bool tree)
{
    cleanup_free char *full = NULL;
    struct pv_err err;

    if (!r)
        return;
    full = normal_path(path);
    if (path_is_own(r, full))
        return;
    if (path[0] != '/')
        r->used_cwd = true;
    reads_note_err(r, tree ? pv_recipe_tree(r->recipe, full, &err) : pv_recipe_file(r->recipe, full, &err),
                   &err);
}

/* Devices, and what the kernel makes up, change all the time. */
static bool path_is_watched(const struct pv_testfile *tf, const char *path)
{
    return !pv_path_is_below(path, "/proc") && !pv_path_is_below(path, "/sys") &&
           !pv_path_is_below(path, "/dev") && !(tf->env->log_dir && pv_path_is_below(path, tf->env->log_dir));
}

/* --watch: tells the supervisor of a path.  A file that reads one path a million times tells it a few times. */
static void reads_tell(struct pv_testfile *tf, const char *path, enum pv_input_kind kind)
{
    static uint64_t told[4096];
    cleanup_free char *full = tf->env->watch ? normal_path(path) : NULL;
    uint64_t h;

    if (!full || !path_is_watched(tf, full))
        return;
    h = pv_stamp_text(full) + kind;
    if (told[h % PV_ARRAY_LEN(told)] == h)
        return;
    told[h % PV_ARRAY_LEN(told)] = h;
    pv_result_input(tf->env->result, full, kind,
                    kind == PV_INPUT_WROTE ? 0 : pv_stamp(full, kind == PV_INPUT_TREE, NULL, NULL));
}

void pv_tf_reads(struct pv_testfile *tf, const char *path)
{
    reads_tell(tf, path, PV_INPUT_FILE);
    pv_tf_reads_add(tf->reads, path, false);
}

void pv_tf_reads_tree(struct pv_testfile *tf, const char *path)
{
    reads_tell(tf, path, PV_INPUT_TREE);
    pv_tf_reads_add(tf->reads, path, true);
}

void pv_tf_wrote(struct pv_testfile *tf, const char *path)
{
    reads_tell(tf, path, PV_INPUT_WROTE);
    if (tf->reads)
        pv_strv_take(&tf->reads->wrote, normal_path(path));
}

/* "a.b" with sep "." and rep "/" becomes "a/b". */
static void search_name(struct pv_buf *file, const char *name, const char *sep, const char *rep)
{
    for (const char *c = name; *c;) {
        if (*sep && !strncmp(c, sep, strlen(sep))) {
            pv_buf_adds(file, rep);
            c += strlen(sep);
        } else {
            pv_buf_addc(file, *c++);
        }
    }
}

void pv_tf_reads_search(struct pv_testfile *tf, const char *name, const char *templates, const char *sep,
                        const char *rep)
{
    cleanup_buf struct pv_buf file = {0};

    if (!tf->reads && !tf->env->watch)
        return;
    search_name(&file, name, sep, rep);
    for (const char *t = templates; file.data && *t;) {
        cleanup_buf struct pv_buf path = {0};
        size_t n = strcspn(t, ";");

        for (size_t i = 0; i < n; i++) {
            if (t[i] == '?')
                pv_buf_add(&path, file.data, file.len);
            else
                pv_buf_addc(&path, t[i]);
        }
        t += n;
        t += strspn(t, ";");
        if (!path.data)
            continue;
        pv_tf_reads(tf, path.data);
        if (access(path.data, R_OK) == 0)
            return;
    }
}

void pv_tf_reads_string(struct tf_reads *r, const char *name, const char *value)
{
    struct pv_err err;

    reads_note_err(r, pv_recipe_string(r->recipe, name, value, &err), &err);
}

void pv_tf_reads_env(struct pv_testfile *tf, const char *name)
{
    cleanup_free char *key = pv_xasprintf(TF_INPUT_ENV "%s", name);
    cleanup_buf struct pv_buf value = {0};

    if (!tf->reads)
        return;
    pv_tf_input_env(name, &value);
    pv_tf_reads_string(tf->reads, key, value.data);
}

void pv_tf_reads_add_profile(struct tf_reads *r, const struct pv_guest_host *host, const struct pv_profile *p)
{
    cleanup_free char *key = pv_xasprintf(TF_INPUT_PROFILE "%s", p->name);
    cleanup_free char *qemu = pv_guest_qemu(p);
    cleanup_buf struct pv_buf value = {0};

    pv_guest_describe(host, p, &value);
    pv_tf_reads_string(r, key, value.data);
    if (qemu)
        pv_tf_reads_add(r, qemu, false);
}

void pv_tf_reads_profile(struct pv_testfile *tf, const struct pv_profile *p)
{
    cleanup_free char *qemu = tf->env->watch ? pv_guest_qemu(p) : NULL;

    if (qemu)
        reads_tell(tf, qemu, PV_INPUT_FILE);
    if (tf->reads)
        pv_tf_reads_add_profile(tf->reads, &tf->guest_env.host, p);
}

void pv_tf_reads_fixture(struct pv_testfile *tf, struct pv_entry *e)
{
    if (tf->reads)
        pv_recipe_fixture(tf->reads->recipe, e);
}

static void entry_input(const char *path, bool tree, void *arg)
{
    reads_tell(arg, path, tree ? PV_INPUT_TREE : PV_INPUT_FILE);
}

void pv_tf_reads_inputs_of(struct pv_testfile *tf, const struct pv_entry *e)
{
    if (tf->env->watch)
        pv_entry_inputs(e, entry_input, tf);
}

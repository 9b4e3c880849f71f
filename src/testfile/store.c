/* SPDX-License-Identifier: MIT */
#include "testfile/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture/store.h"
#include "guest/snapshot.h"
#include "testfile/testfile.h"
#include "util/err.h"
#include "util/path.h"

struct tf_entry {
    struct pv_entry *e;
    struct pv_snapshot *s; /* NULL: not loaded yet */
    bool dropped;
    struct tf_entry *next;
};

static int store_open(struct pv_testfile *tf, struct pv_err *err)
{
    struct tf_store *st = &tf->store;

    if (st->s)
        return 0;
    st->s = pv_store_open(tf->env->config ? tf->env->config->cache_size : PV_STORE_SIZE, err);
    st->inputs =
        (struct tf_inputs){.config = tf->env->config, .version = tf->env->version, .accel = tf->env->accel};
    return st->s ? 0 : -1;
}

void pv_tf_store_close(struct tf_store *st)
{
    while (st->entries) {
        struct tf_entry *e = st->entries;

        st->entries = e->next;
        pv_snapshot_unref(e->s);
        pv_entry_close(e->e);
        free(e);
    }
    pv_store_free(st->s);
    st->s = NULL;
    pv_tf_inputs_fini(&st->inputs);
}

static struct pv_fixture_id fixture_id(const struct pv_testfile *tf, const struct tf_fixture *f)
{
    const struct pv_config *c = tf->env->config;
    const char *project =
        c && c->dir && (*f->script || c->path) ? c->dir : ""; /* else the working directory */

    return (struct pv_fixture_id){
        .name = f->name, .project = project, .script = f->script, .variant = f->variant};
}

/* An entry that is open already is used again: its machine may be loaded. */
static struct tf_entry *store_add_entry(struct tf_store *st, struct pv_entry *opened)
{
    struct tf_entry *e;

    for (e = st->entries; e; e = e->next)
        if (!e->dropped && !strcmp(pv_entry_key(e->e), pv_entry_key(opened))) {
            pv_entry_close(opened);
            return e;
        }
    e = pv_xcalloc(1, sizeof(*e));
    e->e = opened;
    e->next = st->entries;
    st->entries = e;
    return e;
}

int pv_tf_store_get(struct pv_testfile *tf, const struct tf_fixture *f, struct tf_entry **e,
                    struct pv_err *err)
{
    cleanup_free char *why = NULL;

    return pv_tf_store_look(tf, f, e, &why, err);
}

int pv_tf_store_look(struct pv_testfile *tf, const struct tf_fixture *f, struct tf_entry **e, char **why,
                     struct pv_err *err)
{
    struct pv_fixture_id id = fixture_id(tf, f);
    struct pv_miss miss = {0};
    struct pv_entry *opened;
    struct pv_inputs now;
    int r;

    if (store_open(tf, err) < 0)
        return -1;
    pv_tf_inputs_now(&tf->store.inputs, &now);
    r = pv_store_find(tf->store.s, &id, &now, &opened, &miss, err);
    if (r >= 0 && miss.kind == PV_MISS_DAMAGED) {
        cleanup_free char *line =
            pv_xasprintf("the cached fixture '%s' was damaged (%s): it is built again", f->name, miss.why);

        pv_result_notice(tf->env->result, line);
    }
    if (r > 0) {
        pv_tf_reads_inputs_of(tf, opened);
        *e = store_add_entry(&tf->store, opened);
    }
    if (r == 0)
        *why = pv_xstrdup(miss.kind == PV_MISS_ABSENT ? "there was none" : miss.why);
    return r;
}

int pv_tf_store_verify(struct tf_entry *e, struct pv_err *err)
{
    return pv_entry_verify(e->e, 0, err);
}

void pv_tf_store_drop(struct tf_entry *e)
{
    e->dropped = true;
    pv_entry_discard(e->e);
}

int pv_tf_store_forget(struct pv_testfile *tf, const struct tf_fixture *f, struct pv_err *err)
{
    struct pv_fixture_id id = fixture_id(tf, f);

    return store_open(tf, err) < 0 ? -1 : pv_store_forget(tf->store.s, &id, err);
}

static int entry_file(const char *name, void *arg)
{
    return pv_entry_fd(arg, name);
}

struct pv_snapshot *pv_tf_store_snapshot(struct pv_testfile *tf, struct tf_entry *e, struct pv_err *err)
{
    if (!e->s)
        e->s = pv_snapshot_load(pv_entry_machine(e->e), entry_file, e->e, tf->env->config, err);
    return e->s;
}

void pv_tf_store_reads(struct pv_testfile *tf, struct tf_entry *e)
{
    pv_tf_reads_fixture(tf, e->e);
}

int pv_tf_store_lock(struct pv_testfile *tf, const struct tf_fixture *f, struct pv_store_lock **lock,
                     pid_t *holder, struct pv_err *err)
{
    struct pv_fixture_id id = fixture_id(tf, f);

    return store_open(tf, err) < 0 ? -1 : pv_store_lock(tf->store.s, &id, lock, holder, err);
}

void pv_tf_store_tell(struct pv_store_lock *lock, const struct tf_build_end *v)
{
    cleanup_free char *word = NULL;

    if (v)
        word = pv_xasprintf("%d %d\n%s", v->outcome, v->cls, v->text ? v->text : "");
    pv_store_tell(lock, word);
}

bool pv_tf_store_told(const struct pv_store_lock *lock, int64_t since, struct tf_build_end *v)
{
    cleanup_free char *word = pv_store_told(lock, since);
    int n = 0;

    if (!word || sscanf(word, "%d %d%n", &v->outcome, &v->cls, &n) != 2 || word[n] != '\n')
        return false;
    v->text = pv_xstrdup(word + n + 1);
    return true;
}

/* ---- making an entry ---- */

int pv_tf_store_recipe(struct pv_testfile *tf, const struct tf_fixture *f, struct tf_reads *r,
                       struct pv_err *err)
{
    struct pv_fixture_id id = fixture_id(tf, f);
    cleanup_free char *self = pv_realpath("/proc/self/exe");

    if (store_open(tf, err) < 0)
        return -1;
    r->recipe = pv_recipe_new(tf->store.s, &id);
    pv_tf_reads_string(r, TF_INPUT_VERSION, tf->env->version);
    if (self)
        pv_tf_reads_add(r, self, false);
    return 0;
}

int pv_tf_store_begin(struct pv_testfile *tf, struct pv_err *err)
{
    struct tf_fixture f = {.name = tf->builder->name, .script = tf->builder->script};

    return pv_tf_store_recipe(tf, &f, tf->reads, err);
}

/* A saved file of which there is none yet to copy. */
static int build_add_new(struct pv_build *build, const struct pv_snapshot *s, const char *name,
                         struct pv_err *err)
{
    struct pv_err why = PV_ERR_INIT;
    int fd = pv_build_file(build, name, err);

    if (fd < 0)
        return -1;
    return pv_snapshot_write_file(s, name, fd, &why) < 0 ? pv_build_file_failed(build, &why, err) : 0;
}

static int build_add_files(struct pv_build *build, const struct pv_snapshot *s, struct pv_err *err)
{
    struct pv_saved_file *files = NULL;
    size_t n = 0;
    int r = 0;

    pv_snapshot_files(s, &files, &n);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = files[i].fd < 0 ? build_add_new(build, s, files[i].name, err)
                            : pv_build_add(build, files[i].name, files[i].fd, err);
    free(files);
    return r;
}

int pv_tf_store_commit(struct pv_testfile *tf, struct tf_reads *r, struct pv_snapshot *s, char **moved,
                       struct pv_err *err)
{
    cleanup_free char *machine = pv_snapshot_machine(s, err);
    cleanup_buf struct pv_buf cwd = {0};
    struct pv_entry *e = NULL;
    struct pv_build *build;

    if (!machine)
        return -1;
    pv_tf_input_cwd(&cwd);
    if (r->used_cwd)
        pv_tf_reads_string(r, TF_INPUT_CWD, cwd.data);
    if (r->err.cls != PV_E_NONE) {
        *err = r->err;
        return -1;
    }
    build = pv_build_new(tf->store.s, r->recipe, err);
    if (build && build_add_files(build, s, err) == 0)
        e = pv_build_commit(build, machine, err);
    if (e && pv_entry_moved(e))
        *moved = pv_xstrdup(pv_entry_moved(e));
    pv_entry_close(e);
    pv_build_free(build);
    return !e ? -1 : *moved ? 1 : 0;
}

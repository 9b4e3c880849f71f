/* SPDX-License-Identifier: MIT */
/*
 * A recipe's strings, by name:
 *
 *     profile.NAME    the profile's values, QEMU, accelerator
 *     env.NAME        of the environment that the script asked for: "=VALUE", or "unset"
 *     cwd             the working directory, once a path that is relative to it was read
 *     provium         the version
 *
 * Provium itself (with the agent in it) and QEMU are files of the recipe.
 */
#include "lua/store.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture/store.h"
#include "guest/snapshot.h"
#include "lua/build.h"
#include "util/err.h"
#include "util/path.h"
#include "util/spawn.h"

struct lua_entry {
    struct pv_entry *e;
    struct pv_snapshot *s; /* NULL: not asked for yet */
    bool dropped;
    struct lua_entry *next;
};

struct lua_store {
    struct pv_store *s;
    struct pv_buf value; /* of a string that was asked for last */
    struct lua_entry *entries;
};

static struct lua_store *open_store(struct pv_lua *pl, struct pv_err *err)
{
    struct pv_store *s;

    if (pl->store)
        return pl->store;
    s = pv_store_open(pl->env->config ? pl->env->config->cache_size : PV_STORE_SIZE, err);
    if (!s)
        return NULL;
    pl->store = pv_xcalloc(1, sizeof(*pl->store));
    pl->store->s = s;
    return pl->store;
}

void pv_lua_store_close(struct pv_lua *pl)
{
    struct lua_store *st = pl->store;

    if (!st)
        return;
    while (st->entries) {
        struct lua_entry *e = st->entries;

        st->entries = e->next;
        pv_snapshot_unref(e->s);
        pv_entry_close(e->e);
        free(e);
    }
    pv_store_free(st->s);
    pv_buf_free(&st->value);
    free(st);
    pl->store = NULL;
}

/* ---- what a recipe's strings are now ---- */

static void add_env(struct pv_buf *out, const char *name)
{
    const char *value = getenv(name);

    pv_buf_addf(out, "%s%s", value ? "=" : "unset", value ? value : "");
}

static void add_cwd(struct pv_buf *out)
{
    cleanup_free char *cwd = getcwd(NULL, 0);

    pv_buf_adds(out, cwd ? cwd : "none");
}

static const char *value_now(const struct pv_fixture_id *id, const char *name, void *arg)
{
    struct pv_lua *pl = arg;
    struct pv_buf *out = &pl->store->value;

    (void)id;
    pv_buf_free(out);
    if (!strncmp(name, "profile.", 8)) {
        const struct pv_profile *p = pv_config_profile(pl->env->config, name + 8, NULL);

        if (!p)
            return NULL;
        pv_guest_describe(&pl->guest_env, p, out);
    } else if (!strncmp(name, "env.", 4)) {
        add_env(out, name + 4);
    } else if (!strcmp(name, "cwd")) {
        add_cwd(out);
    } else if (!strcmp(name, "provium")) {
        pv_buf_adds(out, pl->env->version);
    } else {
        return NULL; /* of another version */
    }
    return out->data ? out->data : "";
}

void pv_lua_fixture_inputs(const struct pv_config *config, const char *version, struct pv_inputs *now)
{
    static struct pv_lua_env env;
    static struct lua_store store;
    static struct pv_lua pl = {.env = &env, .store = &store};

    env.config = config;
    env.version = version;
    *now = (struct pv_inputs){.value = value_now, .arg = &pl};
}

/* ---- looking up ---- */

static struct pv_fixture_id id_of(const struct pv_lua *pl, const struct pv_fixture_script *f)
{
    const char *project = pl->env->config && pl->env->config->dir ? pl->env->config->dir : "";

    return (struct pv_fixture_id){.name = f->name, .project = project, .script = f->path, .variant = NULL};
}

/* An entry that is open already is used on: its machine has been read. */
static struct lua_entry *add_entry(struct lua_store *st, struct pv_entry *opened)
{
    struct lua_entry *e;

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

int pv_lua_store_get(struct pv_lua *pl, const struct pv_fixture_script *f, struct lua_entry **e,
                     struct pv_err *err)
{
    struct lua_store *st = open_store(pl, err);
    struct pv_fixture_id id = id_of(pl, f);
    struct pv_inputs now = {.value = value_now, .arg = pl};
    struct pv_miss miss = {0};
    struct pv_entry *opened;
    int r = st ? pv_store_find(st->s, &id, &now, &opened, &miss, err) : -1;

    if (r >= 0 && miss.kind == PV_MISS_DAMAGED) {
        cleanup_free char *line =
            pv_xasprintf("the cached fixture '%s' was damaged (%s): it is built again", f->name, miss.why);

        pv_result_notice(pl->env->result, line);
    }
    if (r > 0)
        *e = add_entry(st, opened);
    return r;
}

int pv_lua_store_verify(struct lua_entry *e, struct pv_err *err)
{
    return pv_entry_verify(e->e, 0, err);
}

void pv_lua_store_drop(struct pv_lua *pl, struct lua_entry *e)
{
    (void)pl;
    e->dropped = true;
    pv_entry_discard(e->e);
}

int pv_lua_store_forget(struct pv_lua *pl, const struct pv_fixture_script *f, struct pv_err *err)
{
    struct lua_store *st = open_store(pl, err);
    struct pv_fixture_id id = id_of(pl, f);

    return st ? pv_store_forget(st->s, &id, err) : -1;
}

static int blob_fd(const char *name, void *arg)
{
    return pv_entry_fd(arg, name);
}

struct pv_snapshot *pv_lua_store_snapshot(struct pv_lua *pl, struct lua_entry *e, struct pv_err *err)
{
    if (!e->s)
        e->s = pv_snapshot_load(pv_entry_machine(e->e), blob_fd, e->e, pl->env->config, err);
    return e->s;
}

int pv_lua_store_lock(struct pv_lua *pl, const struct pv_fixture_script *f, struct pv_store_lock **lock,
                      pid_t *holder, struct pv_err *err)
{
    struct lua_store *st = open_store(pl, err);
    struct pv_fixture_id id = id_of(pl, f);

    return st ? pv_store_lock(st->s, &id, lock, holder, err) : -1;
}

void pv_lua_store_unlock(struct pv_store_lock *lock)
{
    pv_store_unlock(lock);
}

void pv_lua_store_tell(struct pv_store_lock *lock, const struct lua_verdict *v)
{
    cleanup_free char *word = NULL;

    if (v)
        word = pv_xasprintf("%d %d\n%s", v->outcome, v->cls, v->text ? v->text : "");
    pv_store_tell(lock, word);
}

bool pv_lua_store_told(const struct pv_store_lock *lock, int64_t since, struct lua_verdict *v)
{
    cleanup_free char *word = pv_store_told(lock, since);
    int n = 0;

    if (!word || sscanf(word, "%d %d%n", &v->outcome, &v->cls, &n) != 2 || word[n] != '\n')
        return false;
    v->text = pv_xstrdup(word + n + 1);
    return true;
}

/* ---- in a builder ---- */

static void note(struct lua_build *b, int rc, const struct pv_err *err)
{
    if (rc < 0 && b->input_err.cls == PV_E_NONE)
        b->input_err = *err;
}

void pv_lua_build_input(struct lua_build *b, const char *path, bool tree)
{
    struct pv_err err;

    note(b, tree ? pv_recipe_tree(b->recipe, path, &err) : pv_recipe_file(b->recipe, path, &err), &err);
}

static void add_string(struct lua_build *b, const char *name, const char *value)
{
    struct pv_err err;

    note(b, pv_recipe_string(b->recipe, name, value, &err), &err);
}

void pv_lua_build_env(struct lua_build *b, const char *name)
{
    cleanup_free char *key = pv_xasprintf("env.%s", name);
    cleanup_buf struct pv_buf value = {0};

    add_env(&value, name);
    add_string(b, key, value.data);
}

void pv_lua_build_profile(struct pv_lua *pl, const struct pv_profile *p)
{
    cleanup_free char *key = pv_xasprintf("profile.%s", p->name);
    cleanup_free char *qemu = pv_find_program("qemu-system-x86_64");
    cleanup_buf struct pv_buf value = {0};

    if (!pl->build)
        return;
    pv_guest_describe(&pl->guest_env, p, &value);
    add_string(pl->build, key, value.data);
    if (qemu)
        pv_lua_build_input(pl->build, qemu, false);
}

void pv_lua_build_needs(struct lua_build *b, const struct lua_entry *e)
{
    pv_recipe_fixture(b->recipe, e->e);
}

int pv_lua_store_begin(struct pv_lua *pl, struct pv_err *err)
{
    struct lua_build *b = pl->build;
    struct pv_fixture_script f = {b->name, b->script};
    struct pv_fixture_id id = id_of(pl, &f);
    cleanup_free char *self = realpath("/proc/self/exe", NULL);
    struct lua_store *st = open_store(pl, err);

    if (!st)
        return -1;
    b->recipe = pv_recipe_new(st->s, &id);
    add_string(b, "provium", pl->env->version);
    if (self)
        pv_lua_build_input(b, self, false);
    return 0;
}

static int add_memory(struct pv_build *build, const struct pv_snapshot *s, struct pv_err *err)
{
    struct pv_err why = PV_ERR_INIT;
    int fd = pv_build_file(build, "memory", err);

    if (fd < 0)
        return -1;
    return pv_snapshot_write_memory(s, fd, &why) < 0 ? pv_build_file_failed(build, &why, err) : 0;
}

static int add_blobs(struct pv_build *build, const struct pv_snapshot *s, struct pv_err *err)
{
    struct pv_snapshot_blob *blobs = NULL;
    size_t n = 0;
    int r = 0;

    pv_snapshot_blobs(s, &blobs, &n);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = blobs[i].fd < 0 ? add_memory(build, s, err)
                            : pv_build_add(build, blobs[i].name, blobs[i].fd, err);
    free(blobs);
    return r;
}

int pv_lua_store_commit(struct pv_lua *pl, struct pv_snapshot *s, char **moved, struct pv_err *err)
{
    struct lua_build *b = pl->build;
    cleanup_free char *machine = pv_snapshot_machine(s);
    cleanup_buf struct pv_buf cwd = {0};
    struct pv_entry *e = NULL;
    struct pv_build *build;

    add_cwd(&cwd);
    if (b->used_cwd)
        add_string(b, "cwd", cwd.data);
    if (b->input_err.cls != PV_E_NONE) {
        *err = b->input_err;
        return -1;
    }
    build = pv_build_new(pl->store->s, b->recipe, err);
    if (build && add_blobs(build, s, err) == 0)
        e = pv_build_commit(build, machine, err);
    if (e && pv_entry_moved(e))
        *moved = pv_xstrdup(pv_entry_moved(e));
    pv_entry_close(e);
    pv_build_free(build);
    return !e ? -1 : *moved ? 1 : 0;
}

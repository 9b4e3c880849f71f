/* SPDX-License-Identifier: MIT */
/*
 * libkmod reads depmod's indexes from the tree, wherever that lies.  Its only configuration is the tree's own
 * soft and weak dependencies: the host's modprobe.d (blacklists, install commands) does not apply to guests.
 */
#include <errno.h>
#include <libkmod.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "image/image.h"
#include "image/modindex.h"
#include "util/err.h"
#include "util/log.h"
#include "util/path.h"

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool has_file(const char *dir, const char *name)
{
    cleanup_free char *path = pv_path_join(dir, name);

    return access(path, F_OK) == 0;
}

/* True for a modules tree, indexed or not. */
static bool is_tree(const char *dir)
{
    return has_file(dir, "modules.dep.bin") || has_file(dir, "modules.dep") ||
           has_file(dir, "modules.builtin") || has_file(dir, "modules.order") || has_file(dir, "kernel");
}

/* Takes `path`: returns it when it is a tree, else adds it to `looked`. */
static char *tree_if(char *path, struct pv_strv *looked)
{
    if (is_dir(path) && is_tree(path))
        return path;
    pv_strv_take(looked, path);
    return NULL;
}

static char *explicit_tree(const char *dir, const char *release, struct pv_err *err)
{
    char *tree;

    if (is_dir(dir) && is_tree(dir))
        return pv_xstrdup(dir);
    /* A user's `modules` one level too high has only one sensible meaning. */
    if (release) {
        cleanup_strv struct pv_strv looked = {0};

        tree = tree_if(pv_xasprintf("%s/%s", dir, release), &looked);
        if (!tree)
            tree = tree_if(pv_xasprintf("%s/lib/modules/%s", dir, release), &looked);
        if (tree)
            return tree;
    }
    if (!is_dir(dir))
        pv_err_set(err, PV_E_USAGE, "modules directory '%s' %s", dir,
                   access(dir, F_OK) == 0 ? "is no directory" : "does not exist");
    else
        pv_err_set(err, PV_E_USAGE,
                   "'%s' is no modules tree: expected a /lib/modules/VERSION directory with modules.dep and "
                   "kernel/ in it",
                   dir);
    return NULL;
}

/*
 * Where distributions put trees, by the kernel's directory: beside the kernel (a build's output), below it or one level
 * up (an unpacked package, with boot/ and lib/ or usr/lib/ in it), or around it (usr/lib/modules/RELEASE/vmlinuz of
 * Fedora, Arch, openSUSE).
 */
static char *tree_near(const char *dir, const char *release, struct pv_strv *looked)
{
    static const char *const places[] = {"modules", "lib/modules", "usr/lib/modules", "../lib/modules",
                                         "../usr/lib/modules"};
    char *tree = NULL;

    if (release && !strcmp(pv_path_basename(dir), release))
        tree = tree_if(pv_xstrdup(dir), looked);
    for (size_t i = 0; !tree && release && i < PV_ARRAY_LEN(places); i++)
        tree = tree_if(pv_xasprintf("%s/%s/%s", dir, places[i], release), looked);
    return tree ? tree : tree_if(pv_xasprintf("%s/modules", dir), looked);
}

static char *find_tree(const char *explicit_dir, const char *kernel_path, const char *release,
                       struct pv_strv *looked, struct pv_err *err)
{
    cleanup_free char *dir = NULL, *real = NULL;
    char *tree;

    if (explicit_dir)
        return explicit_tree(explicit_dir, release, err);
    dir = pv_path_dirname(kernel_path);
    tree = tree_near(dir, release, looked);
    if (!tree && (real = pv_realpath(kernel_path)) != NULL && strcmp(real, kernel_path) != 0) {
        /* The target of a link such as /vmlinuz has its modules beside it. */
        free(pv_steal(&dir));
        dir = pv_path_dirname(real);
        tree = tree_near(dir, release, looked);
    }
    if (!tree && release)
        tree = tree_if(pv_xasprintf("/lib/modules/%s", release), looked);
    if (!tree && release)
        tree = tree_if(pv_xasprintf("/usr/lib/modules/%s", release), looked);
    return tree; /* NULL with err untouched: no tree */
}

static bool is_indexed(const char *tree)
{
    return has_file(tree, "modules.dep.bin") || has_file(tree, "modules.dep");
}

bool pv_modules_know_builtin(const char *tree)
{
    return has_file(tree, "modules.builtin.bin") || has_file(tree, "modules.builtin");
}

char *pv_modules_find(const char *explicit_dir, const char *kernel_path, const char *release,
                      struct pv_strv *looked, struct pv_err *err)
{
    cleanup_strv struct pv_strv places = {0};
    char *tree = find_tree(explicit_dir, kernel_path, release, looked ? looked : &places, err), *index;
    struct pv_err why = PV_ERR_INIT;

    if (!tree || is_indexed(tree))
        return tree;
    index = pv_modules_index(tree, &why);
    if (!index) {
        pv_debug("image", "'%s' is not indexed: %s", tree, why.text);
        return tree; /* pv_modlist_add reports the missing index */
    }
    free(tree);
    return index;
}

/* ---- dependencies ---- */

static bool is_listed(const struct pv_modlist *l, const char *path)
{
    for (size_t i = 0; i < l->paths.n; i++)
        if (!strcmp(l->paths.v[i], path))
            return true;
    return false;
}

/* The modules whose dependencies are being added: soft dependencies may form a cycle. */
struct chain {
    const char *path;
    const struct chain *up;
};

static bool in_chain(const struct chain *c, const char *path)
{
    for (; c; c = c->up)
        if (!strcmp(c->path, path))
            return true;
    return false;
}

static void add_module(struct pv_modlist *l, const struct kmod_module *m, const struct chain *up);

static void add_all(struct pv_modlist *l, struct kmod_list *mods, const struct chain *up)
{
    struct kmod_list *it;

    kmod_list_foreach(it, mods)
    {
        struct kmod_module *m = kmod_module_get_module(it);

        add_module(l, m, up);
        kmod_module_unref(m);
    }
    kmod_module_unref_list(mods);
}

/*
 * Adds in this order: "pre" soft dependencies; weak dependencies (if this libkmod lists them), because no
 * modprobe runs in the guest when the module requests them; hard dependencies; the module; "post" soft
 * dependencies.
 */
static void add_module(struct pv_modlist *l, const struct kmod_module *m, const struct chain *up)
{
    struct kmod_list *pre = NULL, *post = NULL;
    struct chain here = {kmod_module_get_path(m), up};

    if (!here.path || is_listed(l, here.path) || in_chain(up, here.path)) /* no path: built in */
        return;
    kmod_module_get_softdeps(m, &pre, &post);
    add_all(l, pre, &here);
#ifdef PV_HAVE_KMOD_WEAKDEPS
    struct kmod_list *weak = NULL;

    kmod_module_get_weakdeps(m, &weak);
    add_all(l, weak, &here);
#endif
    add_all(l, kmod_module_get_dependencies(m), &here);
    if (!is_listed(l, here.path))
        pv_strv_add(&l->paths, here.path);
    add_all(l, post, &here);
}

static int refuse_unindexed(const char *tree, struct pv_err *err)
{
    cleanup_free char *real = pv_realpath(tree);
    const char *full = real ? real : tree, *version = pv_path_basename(full);
    const char *standard = strstr(full, "/lib/modules/");

    if (standard && !strchr(standard + strlen("/lib/modules/"), '/'))
        return pv_err_set(err, PV_E_USAGE,
                          "modules tree '%s' has no modules.dep; make it with: depmod -b '%.*s/' %s", tree,
                          (int)(standard - full), full, version);
    return pv_err_set(err, PV_E_USAGE,
                      "modules tree '%s' has no modules.dep; make it with: d=$(mktemp -d) && mkdir -p "
                      "$d/lib/modules && ln -s '%s' $d/lib/modules/VERSION && depmod -b $d VERSION "
                      "(VERSION: the kernel's, as uname -r prints it)",
                      tree, full);
}

static struct kmod_ctx *open_tree(const char *tree, struct pv_err *err)
{
    cleanup_free char *soft = pv_path_join(tree, "modules.softdep");
    cleanup_free char *weak = pv_path_join(tree, "modules.weakdep");
    const char *config[3] = {NULL};
    struct kmod_ctx *ctx;
    size_t n = 0;

    if (access(soft, R_OK) == 0)
        config[n++] = soft;
    if (access(weak, R_OK) == 0)
        config[n++] = weak;
    ctx = kmod_new(tree, config);
    if (!ctx) {
        pv_err_set(err, PV_E_HOST, "libkmod cannot open modules tree '%s'", tree);
        return NULL;
    }
    kmod_set_log_priority(ctx, LOG_CRIT);
    return ctx;
}

int pv_modlist_add(struct pv_modlist *l, const char *tree, const char *name, struct pv_err *err)
{
    struct kmod_list *found = NULL;
    struct kmod_ctx *ctx;
    int rc;

    if (!is_indexed(tree))
        return refuse_unindexed(tree, err);
    ctx = open_tree(tree, err);
    if (!ctx)
        return -1;
    rc = kmod_module_new_from_lookup(ctx, name, &found);
    if (rc < 0 && rc != -ENOENT)
        rc = pv_err_sys(err, -rc, "cannot look up module '%s' in '%s'", name, tree);
    else
        rc = found ? 0 : 1;
    add_all(l, found, NULL);
    kmod_unref(ctx);
    return rc;
}

void pv_modlist_fini(struct pv_modlist *l)
{
    pv_strv_free(&l->paths);
}

/* SPDX-License-Identifier: MIT */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_keys.h"
#include "config/config_toml.h"
#include "config/guestdir.h"
#include "util/err.h"
#include "util/log.h"
#include "util/parse.h"
#include "util/path.h"

enum { FILE_MAX = 1024 * 1024, NAME_MAX_LEN = 64 };

static const char file_name[] = "provium.toml";

const char *pv_profile_switch_root(const struct pv_profile *p)
{
    static const char *const names[] = {
        [PV_SWITCH_ROOT_AUTO] = "auto", [PV_SWITCH_ROOT_YES] = "yes", [PV_SWITCH_ROOT_NO] = "no"};

    return p->initrd && !p->builtin_userland ? names[p->switch_root] : NULL;
}

bool pv_accel_parse(const char *s, enum pv_accel *accel)
{
    static const char *const names[] = {
        [PV_ACCEL_AUTO] = "auto", [PV_ACCEL_KVM] = "kvm", [PV_ACCEL_TCG] = "tcg"};

    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++)
        if (!strcmp(s, names[i])) {
            *accel = (enum pv_accel)i;
            return true;
        }
    return false;
}

bool pv_tcg_thread_parse(const char *s, enum pv_tcg_thread *thread)
{
    static const char *const names[] = {
        [PV_TCG_THREAD_AUTO] = "auto", [PV_TCG_THREAD_SINGLE] = "single", [PV_TCG_THREAD_MULTI] = "multi"};

    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++)
        if (!strcmp(s, names[i])) {
            *thread = (enum pv_tcg_thread)i;
            return true;
        }
    return false;
}

bool pv_transport_parse(const char *s, enum pv_transport *transport)
{
    static const char *const names[] = {
        [PV_TRANSPORT_AUTO] = "auto", [PV_TRANSPORT_VSOCK] = "vsock", [PV_TRANSPORT_SERIAL] = "serial"};

    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++)
        if (!strcmp(s, names[i])) {
            *transport = (enum pv_transport)i;
            return true;
        }
    return false;
}

/* ---- the default guest ---- */

/* GUEST_DIR/name if it is readable, else NULL.  The caller frees. */
static char *guest_file(const char *guest_dir, const char *name)
{
    char *path = guest_dir ? pv_path_join(guest_dir, name) : NULL;

    if (path && access(path, R_OK) < 0) {
        free(path);
        return NULL;
    }
    return path;
}

/* GUEST_DIR/modules if it is a modules tree; NULL: pv_modules_find searches by the kernel's version. */
static char *guest_modules(const char *guest_dir)
{
    cleanup_free char *dep = guest_file(guest_dir, "modules/modules.dep");

    return dep ? pv_path_join(guest_dir, "modules") : NULL;
}

static struct pv_profile *add_profile(struct pv_config *c, const char *name, int line)
{
    struct pv_profile *p;

    c->profiles = pv_xrealloc(c->profiles, (c->n_profiles + 1) * sizeof(*c->profiles));
    p = &c->profiles[c->n_profiles++];
    memset(p, 0, sizeof(*p));
    p->name = pv_xstrdup(name);
    p->line = line;
    return p;
}

static const struct pv_profile *find_profile(const struct pv_config *c, const char *name)
{
    for (size_t i = 0; i < c->n_profiles; i++)
        if (!strcmp(c->profiles[i].name, name))
            return &c->profiles[i];
    return NULL;
}

/* Adds the built-in `default`, unless the file has one or the guest is not set up. */
static void add_default(struct pv_config *c, const char *guest_dir)
{
    cleanup_free char *kernel = guest_file(guest_dir, "vmlinuz");
    cleanup_free char *userland = guest_file(guest_dir, "userland.cpio");
    struct pv_profile *p;

    if (!kernel || !userland || find_profile(c, "default"))
        return;
    p = add_profile(c, "default", 0);
    p->kernel = pv_steal(&kernel);
    p->initrd = pv_steal(&userland);
    p->builtin_userland = true;
    p->modules = guest_modules(guest_dir);
    p->init = pv_xstrdup("/sbin/init");
    p->append = pv_xstrdup("");
}

/* ---- the file ---- */

static bool profile_name_ok(const struct pv_toml *t)
{
    if (!t->key_len || strlen(t->key) != t->key_len || t->key_len > NAME_MAX_LEN ||
        !isalnum((unsigned char)t->key[0]))
        return false;
    for (const char *s = t->key; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
            return false;
    return true;
}

static int read_profile(struct pv_config *c, const struct pv_config_at *at, const struct pv_toml *t,
                        const char *guest_dir, struct pv_err *err)
{
    struct pv_profile *p;

    if (!profile_name_ok(t))
        return pv_err_set(err, PV_E_USAGE,
                          "%s:%d: '%.64s' cannot be a profile's name; expected letters, digits, '.', '_' and "
                          "'-', beginning with a letter or digit, at most %d bytes",
                          at->file, t->line, t->key, NAME_MAX_LEN);
    if (t->type != PV_TOML_TABLE)
        return pv_err_set(err, PV_E_USAGE,
                          "%s:%d: 'profile.%s' is not a table; expected [profile.NAME] and keys below it",
                          at->file, t->line, t->key);
    p = add_profile(c, t->key, t->line);
    if (pv_profile_read(at, t, p, err) < 0)
        return -1;
    if (!p->initrd && !p->rootfs) {
        p->builtin_userland = true;
        p->initrd = guest_file(guest_dir, "userland.cpio");
    }
    return 0;
}

static int read_profiles(struct pv_config *c, const struct pv_config_at *at, const struct pv_toml *t,
                         const char *guest_dir, struct pv_err *err)
{
    for (size_t i = 0; i < t->n_items; i++)
        if (read_profile(c, at, &t->items[i], guest_dir, err) < 0)
            return -1;
    return 0;
}

static int read_cache_size(struct pv_config *c, const struct pv_config_at *at, const struct pv_toml *v,
                           struct pv_err *err)
{
    struct pv_err why = PV_ERR_INIT;

    if (v->type != PV_TOML_STRING || strlen(v->str) != v->str_len)
        return pv_err_set(
            err, PV_E_USAGE,
            "%s:%d: [provium]: key 'cache_size' is not a string; expected a size such as \"20G\"", at->file,
            v->line);
    if (pv_parse_size(v->str, &c->cache_size, &why) < 0)
        return pv_err_set(err, PV_E_USAGE, "%s:%d: [provium]: key 'cache_size': %s", at->file, v->line,
                          why.text);
    return 0;
}

static int read_standby(struct pv_config *c, const struct pv_config_at *at, const struct pv_toml *v,
                        struct pv_err *err)
{
    if (v->type != PV_TOML_BOOL)
        return pv_err_set(err, PV_E_USAGE,
                          "%s:%d: [provium]: key 'standby' is no boolean; expected true or false", at->file,
                          v->line);
    c->standby = v->integer;
    return 0;
}

static int read_tests(struct pv_config *c, const struct pv_config_at *at, const struct pv_toml *v,
                      struct pv_err *err)
{
    static const char expected[] = "a list of patterns below this directory, such as [\"**/*.test.lua\"]";

    if (v->type != PV_TOML_ARRAY || !v->n_items)
        return pv_err_set(err, PV_E_USAGE, "%s:%d: [provium]: key 'tests' is %s; expected %s", at->file,
                          v->line, v->type == PV_TOML_ARRAY ? "an empty list" : "no list", expected);
    for (size_t i = 0; i < v->n_items; i++) {
        const struct pv_toml *p = &v->items[i];

        if (p->type != PV_TOML_STRING || !p->str_len || strlen(p->str) != p->str_len)
            return pv_err_set(err, PV_E_USAGE,
                              "%s:%d: [provium]: key 'tests': entry %zu is no pattern; expected %s", at->file,
                              p->line, i + 1, expected);
        if (p->str[0] == '/' || !strcmp(p->str, "..") || !strncmp(p->str, "../", 3) || strstr(p->str, "/../"))
            return pv_err_set(
                err, PV_E_USAGE,
                "%s:%d: [provium]: key 'tests': '%.100s' leads out of the directory; expected %s", at->file,
                p->line, p->str, expected);
        pv_strv_add(&c->tests, p->str);
    }
    return 0;
}

/* [provium]: settings outside of profiles. */
static int read_provium(struct pv_config *c, const struct pv_config_at *at, const struct pv_toml *t,
                        struct pv_err *err)
{
    static const char *const known[] = {"cache_size", "standby", "tests", NULL};

    for (size_t i = 0; i < t->n_items; i++) {
        const struct pv_toml *v = &t->items[i];
        const char *near = pv_nearest(v->key, known);
        int r;

        if (!strcmp(v->key, "cache_size"))
            r = read_cache_size(c, at, v, err);
        else if (!strcmp(v->key, "standby"))
            r = read_standby(c, at, v, err);
        else if (!strcmp(v->key, "tests"))
            r = read_tests(c, at, v, err);
        else
            r = pv_err_set(err, PV_E_USAGE,
                           "%s:%d: [provium]: key '%.64s' is not known%s%s%s (expected: cache_size, standby, "
                           "tests)",
                           at->file, v->line, v->key, near ? "; did you mean '" : "", near ? near : "",
                           near ? "'?" : "");
        if (r < 0)
            return -1;
    }
    return 0;
}

static int read_top(struct pv_config *c, const struct pv_config_at *at, const struct pv_toml *root,
                    const char *guest_dir, struct pv_err *err)
{
    static const char *const known[] = {"profile", "provium", NULL};

    for (size_t i = 0; i < root->n_items; i++) {
        const struct pv_toml *t = &root->items[i];
        const char *near = pv_nearest(t->key, known);
        bool profile = !strcmp(t->key, "profile"), provium = !strcmp(t->key, "provium");

        if (!profile && !provium)
            return pv_err_set(
                err, PV_E_USAGE,
                "%s:%d: %s '%.64s' is not known%s%s%s; expected tables called [profile.NAME], or [provium]",
                at->file, t->line, t->type == PV_TOML_TABLE ? "table" : "key", t->key,
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        if (t->type != PV_TOML_TABLE)
            return pv_err_set(err, PV_E_USAGE, "%s:%d: '%s' is not a table; expected %s", at->file, t->line,
                              t->key,
                              profile ? "tables called [profile.NAME]" : "[provium] and keys below it");
        if ((profile ? read_profiles(c, at, t, guest_dir, err) : read_provium(c, at, t, err)) < 0)
            return -1;
    }
    return 0;
}

static int read_config(struct pv_config *c, const char *guest_dir, struct pv_err *err)
{
    struct pv_config_at at = {.file = c->path, .dir = c->dir};
    cleanup_buf struct pv_buf text = {0};
    struct pv_toml *root;
    int r;

    if (pv_read_file(c->path, FILE_MAX, &text, err) < 0) {
        if (err && err->cls == PV_E_HOST) /* an unreadable configuration is the user's mistake */
            err->cls = PV_E_USAGE;
        return pv_err_wrap(err, "configuration");
    }
    root = pv_toml_parse(text.data ? text.data : "", text.len, c->path, err);
    if (!root)
        return -1;
    r = read_top(c, &at, root, guest_dir, err);
    pv_toml_free(root);
    return r;
}

/* The path of the nearest provium.toml from `dir` upward, or NULL. */
static char *search_upward(const char *dir)
{
    cleanup_free char *at = pv_xstrdup(dir);
    struct stat st;

    for (;;) {
        char *path = pv_path_join(at, file_name), *up;

        if (lstat(path, &st) == 0) /* a link that leads nowhere is an error, not the absence of a file */
            return path;
        free(path);
        if (!strcmp(at, "/"))
            return NULL;
        up = pv_path_dirname(at);
        free(at);
        at = up;
    }
}

static int locate_file(struct pv_config *c, const char *path, struct pv_err *err)
{
    cleanup_free char *cwd = getcwd(NULL, 0);
    struct stat st;

    if (!cwd)
        return pv_err_sys(err, errno, "cannot tell the working directory");
    c->path = path ? pv_path_join(cwd, path) : search_upward(cwd);
    if (c->path && stat(c->path, &st) < 0)
        return pv_err_set(err, PV_E_USAGE, "configuration file '%s' cannot be read: %s",
                          path ? path : c->path, strerror(errno));
    if (path && S_ISDIR(st.st_mode))
        return pv_err_set(err, PV_E_USAGE,
                          "configuration file '%s' is a directory; expected a file such as %s/%s", path, path,
                          file_name);
    if (!path && c->path && !S_ISREG(st.st_mode)) /* one that is named may be a pipe */
        return pv_err_set(err, PV_E_USAGE, "configuration file '%s' is no regular file; expected a text file",
                          c->path);
    c->dir = c->path ? pv_path_dirname(c->path) : pv_steal(&cwd);
    pv_debug("config", "%s, project root %s", c->path ? c->path : "no provium.toml", c->dir);
    return 0;
}

struct pv_config *pv_config_load(const char *path, const char *guest_dir, struct pv_err *err)
{
    struct pv_config *c = pv_xcalloc(1, sizeof(*c));

    c->cache_size = PV_CACHE_SIZE;
    c->standby = true;
    if (locate_file(c, path, err) < 0 || (c->path && read_config(c, guest_dir, err) < 0)) {
        pv_config_free(c);
        return NULL;
    }
    add_default(c, guest_dir);
    return c;
}

void pv_config_free(struct pv_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_profiles; i++)
        pv_profile_fini(&c->profiles[i]);
    free(c->profiles);
    pv_strv_free(&c->tests);
    free(c->path);
    free(c->dir);
    free(c);
}

/* ---- looking up ---- */

static void refuse_profile(const struct pv_config *c, const char *name, struct pv_err *err)
{
    cleanup_free const char **known = pv_xcalloc(c->n_profiles + 1, sizeof(*known));
    const char *near;

    for (size_t i = 0; i < c->n_profiles; i++)
        known[i] = c->profiles[i].name;
    near = pv_nearest(name, known);
    pv_err_set(err, PV_E_USAGE, "unknown profile '%.64s'", name);
    if (near)
        pv_err_append(err, "; did you mean '%s'?", near);
    pv_err_append(err, "; known profiles:");
    for (size_t i = 0; i < c->n_profiles; i++)
        pv_err_append(err, "%s %s", i ? "," : "", known[i]);
    if (!c->n_profiles)
        pv_err_append(err, " none");
    if (c->path)
        pv_err_append(err, " (from %s)", c->path);
    else
        pv_err_append(err, " (no %s was found from %s upward: 'provium init' makes one)", file_name, c->dir);
}

const struct pv_profile *pv_config_profile(const struct pv_config *c, const char *name, struct pv_err *err)
{
    const struct pv_profile *p;

    if (!name)
        name = "default";
    p = find_profile(c, name);
    if (!p && !strcmp(name, "default")) {
        pv_err_set(err, PV_E_MISSING, "the default guest is not set up");
        pv_guest_advise(err);
        pv_err_append(err, ", or define [profile.default] in %s", file_name);
        return NULL;
    }
    if (!p) {
        refuse_profile(c, name, err);
        return NULL;
    }
    if (p->builtin_userland && !p->initrd) {
        pv_err_set(err, PV_E_MISSING,
                   "%s:%d: profile '%s' has neither `initrd` nor `rootfs` and so uses the built-in userland, "
                   "which is not set up",
                   c->path, p->line, p->name);
        pv_guest_advise(err);
        pv_err_append(err, ", or add one of the two keys");
        return NULL;
    }
    return p;
}

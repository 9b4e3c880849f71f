/* SPDX-License-Identifier: MIT */
#include "config/config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/append.h"
#include "config/config.h"
#include "config/config_toml.h"
#include "config/diskformat.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/parse.h"
#include "util/path.h"

/*
 * The kernel's command line has at most 2048 bytes on x86 (COMMAND_LINE_SIZE), for Provium's own options, the
 * profile's `append` and the boot option `append`.
 */
enum { APPEND_MAX = 1024, INIT_MAX = 255 };

struct key;

struct value {
    const struct pv_config_at *at;
    const struct pv_toml *node;
    const struct pv_profile *profile;
    const struct key *key;
};

struct key {
    const char *name;
    size_t offset; /* of the field in struct pv_profile */
    int (*read)(const struct value *v, void *field, struct pv_err *err);
    const char *expected; /* ends "expected ..." */
};

/* Sets "FILE:LINE: profile 'NAME': key 'KEY': TEXT", class usage.  Returns -1. */
static int key_error(const struct value *v, struct pv_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int key_error(const struct value *v, struct pv_err *err, const char *fmt, ...)
{
    cleanup_free char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = pv_xvasprintf(fmt, ap);
    va_end(ap);
    return pv_err_set(err, PV_E_USAGE, "%s:%d: profile '%s': key '%s': %s", v->at->file, v->node->line,
                      v->profile->name, v->key->name, text);
}

static const char *type_name(enum pv_toml_type type)
{
    static const char *const names[] = {
        [PV_TOML_TABLE] = "a table",       [PV_TOML_ARRAY] = "a list",   [PV_TOML_STRING] = "a string",
        [PV_TOML_INTEGER] = "a number",    [PV_TOML_FLOAT] = "a number", [PV_TOML_BOOL] = "a boolean",
        [PV_TOML_DATE] = "a date or time",
    };

    return names[type];
}

static int type_error(const struct value *v, struct pv_err *err)
{
    return key_error(v, err, "is %s; expected %s", type_name(v->node->type), v->key->expected);
}

/* The text of a string node without control characters, not empty unless may_be_empty.  NULL with err set. */
static const char *get_string(const struct value *v, const struct pv_toml *node, bool may_be_empty,
                              struct pv_err *err)
{
    if (node->type != PV_TOML_STRING) {
        type_error(v, err);
        return NULL;
    }
    if (!node->str_len && !may_be_empty) {
        key_error(v, err, "is empty; expected %s", v->key->expected);
        return NULL;
    }
    for (size_t i = 0; i < node->str_len; i++)
        if (iscntrl((unsigned char)node->str[i])) {
            key_error(v, err, "holds a control character (byte 0x%02x, at %zu); expected %s",
                      (unsigned char)node->str[i], i, v->key->expected);
            return NULL;
        }
    return node->str;
}

static int read_string(const struct value *v, void *field, struct pv_err *err)
{
    const char *s = get_string(v, v->node, false, err);

    if (!s)
        return -1;
    *(char **)field = pv_xstrdup(s);
    return 0;
}

/* NULL if `path` is a readable file (or directory); else its fault, a phrase behind the path in a message. */
static const char *path_fault(const char *path, bool want_dir, bool device_too, int *errnum)
{
    struct stat st;

    *errnum = 0;
    if (stat(path, &st) < 0) {
        *errnum = errno;
        return errno == ENOENT || errno == ENOTDIR ? "does not exist" : "cannot be reached";
    }
    if (want_dir && !S_ISDIR(st.st_mode))
        return "is not a directory";
    if (!want_dir && S_ISDIR(st.st_mode))
        return "is a directory";
    if (!want_dir && !S_ISREG(st.st_mode) && !(device_too && S_ISBLK(st.st_mode)))
        return "is not a regular file";
    if (access(path, want_dir ? R_OK | X_OK : R_OK) < 0) {
        *errnum = errno;
        return "cannot be read";
    }
    return NULL;
}

static int read_path_of(const struct value *v, void *field, bool want_dir, bool device_too,
                        struct pv_err *err)
{
    const char *s = get_string(v, v->node, false, err), *fault;
    cleanup_free char *path = NULL;
    int errnum;

    if (!s)
        return -1;
    path = pv_path_join(v->at->dir, s);
    fault = path_fault(path, want_dir, device_too, &errnum);
    if (fault)
        return key_error(v, err, "'%s' %s%s%s; expected %s", path, fault, errnum ? ": " : "",
                         errnum ? strerror(errnum) : "", v->key->expected);
    *(char **)field = pv_steal(&path);
    return 0;
}

static int read_file_path(const struct value *v, void *field, struct pv_err *err)
{
    return read_path_of(v, field, false, false, err);
}

static int read_program(const struct value *v, void *field, struct pv_err *err)
{
    char **path = field;

    if (read_path_of(v, field, false, false, err) < 0)
        return -1;
    if (access(*path, X_OK) < 0)
        return key_error(v, err, "'%s' may not be executed: %s; expected %s", *path, strerror(errno),
                         v->key->expected);
    return 0;
}

static int read_image_path(const struct value *v, void *field, struct pv_err *err)
{
    return read_path_of(v, field, false, true, err);
}

static int read_dir_path(const struct value *v, void *field, struct pv_err *err)
{
    return read_path_of(v, field, true, false, err);
}

static int read_format(const struct value *v, void *field, struct pv_err *err)
{
    const char *s = get_string(v, v->node, false, err);

    if (!s)
        return -1;
    if (strcmp(s, "raw") != 0 && strcmp(s, "qcow2") != 0)
        return key_error(v, err, "is '%.64s'; expected %s", s, v->key->expected);
    *(char **)field = pv_xstrdup(s);
    return 0;
}

static int read_bool(const struct value *v, void *field, struct pv_err *err)
{
    if (v->node->type != PV_TOML_BOOL)
        return key_error(v, err, "is %s; expected %s", type_name(v->node->type), v->key->expected);
    *(bool *)field = v->node->integer != 0;
    return 0;
}

static int read_switch_root(const struct value *v, void *field, struct pv_err *err)
{
    bool on = false;

    if (read_bool(v, &on, err) < 0)
        return -1;
    *(enum pv_switch_root *)field = on ? PV_SWITCH_ROOT_YES : PV_SWITCH_ROOT_NO;
    return 0;
}

static int read_confine(const struct value *v, void *field, struct pv_err *err)
{
    bool confine = true;

    if (read_bool(v, &confine, err) < 0)
        return -1;
    *(bool *)field = !confine;
    return 0;
}

static int read_root(const struct value *v, void *field, struct pv_err *err)
{
    const char *s = get_string(v, v->node, false, err);
    size_t n;

    if (!s)
        return -1;
    n = strlen(s);
    if (!strncmp(s, "PARTUUID=", 9) || !strncmp(s, "PARTLABEL=", 10))
        return key_error(v, err, "is '%.128s': a partition by %.*s is not supported; expected %s", s,
                         (int)strcspn(s, "="), s, v->key->expected);
    if (!strncmp(s, "/dev/", 5) && strchr(s + 5, '/'))
        return key_error(
            v, err, "is '%.128s': LVM and other volumes of the device mapper are not supported; expected %s",
            s, v->key->expected);
    if (!(n > 5 && !strncmp(s, "/dev/", 5) && !strpbrk(s, " \"'") && !strstr(s, "..")) &&
        !(n > 6 && !strncmp(s, "LABEL=", 6)) &&
        !(n > 5 && !strncmp(s, "UUID=", 5) && strspn(s + 5, "0123456789abcdefABCDEF-") == n - 5))
        return key_error(v, err, "is '%.128s'; expected %s", s, v->key->expected);
    *(char **)field = pv_xstrdup(s);
    return 0;
}

/* init is a word of the kernel command line: blanks and quotes in it are refused. */
static int read_rootflags(const struct value *v, void *field, struct pv_err *err)
{
    const char *s = get_string(v, v->node, false, err);

    if (!s)
        return -1;
    if (!*s || strlen(s) > 255 || strpbrk(s, " \t"))
        return key_error(v, err, "is '%.300s'; expected %s", s, v->key->expected);
    *(char **)field = pv_xstrdup(s);
    return 0;
}

static int read_init(const struct value *v, void *field, struct pv_err *err)
{
    const char *s = get_string(v, v->node, false, err);

    if (!s)
        return -1;
    if (s[0] != '/' || s[1] == '\0' || strpbrk(s, " \"'\\") || strlen(s) > INIT_MAX)
        return key_error(v, err, "is '%.128s'; expected %s", s, v->key->expected);
    *(char **)field = pv_xstrdup(s);
    return 0;
}

static int read_append(const struct value *v, void *field, struct pv_err *err)
{
    const char *s = get_string(v, v->node, true, err);

    if (!s)
        return -1;
    if (v->node->str_len > APPEND_MAX)
        return key_error(v, err, "is %zu bytes long; expected at most %d (the whole line is 2048)",
                         v->node->str_len, APPEND_MAX);
    *(char **)field = pv_xstrdup(s);
    return 0;
}

static int read_accel(const struct value *v, void *field, struct pv_err *err)
{
    const char *s = get_string(v, v->node, false, err);

    if (!s)
        return -1;
    if (!pv_accel_parse(s, field))
        return key_error(v, err, "is '%.64s'; expected %s", s, v->key->expected);
    return 0;
}

static int read_tcg_thread(const struct value *v, void *field, struct pv_err *err)
{
    const char *s = get_string(v, v->node, false, err);

    if (!s)
        return -1;
    if (!pv_tcg_thread_parse(s, field))
        return key_error(v, err, "is '%.64s'; expected %s", s, v->key->expected);
    return 0;
}

static int read_transport(const struct value *v, void *field, struct pv_err *err)
{
    const char *s = get_string(v, v->node, false, err);

    if (!s)
        return -1;
    if (!pv_transport_parse(s, field))
        return key_error(v, err, "is '%.64s'; expected %s", s, v->key->expected);
    return 0;
}

static int read_time(const struct value *v, void *field, struct pv_err *err)
{
    struct pv_err why = PV_ERR_INIT;
    int64_t ns = 0;
    int r;

    if (v->node->type == PV_TOML_INTEGER) {
        r = pv_seconds_to_ns((double)v->node->integer, &ns, &why);
    } else if (v->node->type == PV_TOML_FLOAT) {
        r = pv_seconds_to_ns(v->node->number, &ns, &why);
    } else {
        const char *s = get_string(v, v->node, false, err);

        if (!s)
            return -1;
        r = pv_parse_time(s, &ns, &why);
    }
    if (r < 0)
        return key_error(v, err, "%s", why.text);
    if (ns < PV_NSEC_PER_MSEC)
        return key_error(v, err, "is shorter than a millisecond; expected %s", v->key->expected);
    *(int64_t *)field = ns;
    return 0;
}

static int read_list(const struct value *v, void *field, struct pv_err *err)
{
    if (v->node->type != PV_TOML_ARRAY)
        return type_error(v, err);
    for (size_t i = 0; i < v->node->n_items; i++) {
        const struct pv_toml *item = &v->node->items[i];
        struct value one = *v;
        const char *s;

        one.node = item;
        if (item->type != PV_TOML_STRING)
            return key_error(&one, err, "entry %zu is %s; expected %s", i + 1, type_name(item->type),
                             v->key->expected);
        s = get_string(&one, item, false, err);
        if (!s)
            return -1;
        pv_strv_add(field, s);
    }
    return 0;
}

/* A path or a list of paths, each of a readable file or a directory. */
static int read_debug(const struct value *v, void *field, struct pv_err *err)
{
    bool list = v->node->type == PV_TOML_ARRAY;
    size_t n = list ? v->node->n_items : 1;

    for (size_t i = 0; i < n; i++) {
        struct value one = *v;
        cleanup_free char *path = NULL;
        const char *s, *fault;
        struct stat st;
        int errnum;

        one.node = list ? &v->node->items[i] : v->node;
        s = get_string(&one, one.node, false, err);
        if (!s)
            return -1;
        path = pv_path_join(v->at->dir, s);
        fault = path_fault(path, stat(path, &st) == 0 && S_ISDIR(st.st_mode), false, &errnum);
        if (fault)
            return key_error(&one, err, "'%s' %s%s%s; expected %s", path, fault, errnum ? ": " : "",
                             errnum ? strerror(errnum) : "", v->key->expected);
        pv_strv_take(field, pv_steal(&path));
    }
    return 0;
}

static bool env_name_ok(const char *s, size_t n)
{
    if (!n || strlen(s) != n || isdigit((unsigned char)s[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_')
            return false;
    return true;
}

static int read_env(const struct value *v, void *field, struct pv_err *err)
{
    if (v->node->type != PV_TOML_TABLE)
        return type_error(v, err);
    for (size_t i = 0; i < v->node->n_items; i++) {
        const struct pv_toml *item = &v->node->items[i];
        struct value one = *v;

        one.node = item;
        if (!env_name_ok(item->key, item->key_len))
            return key_error(&one, err,
                             "'%.64s' is not a variable's name; expected letters, digits and '_', not "
                             "beginning with a digit",
                             item->key);
        if (item->type != PV_TOML_STRING)
            return key_error(&one, err, "%s is %s; expected a string (write it in quotes)", item->key,
                             type_name(item->type));
        if (strlen(item->str) != item->str_len)
            return key_error(&one, err, "%s holds a NUL byte, which no variable can", item->key);
        pv_strv_addf(field, "%s=%s", item->key, item->str);
    }
    return 0;
}

#define FIELD(f) offsetof(struct pv_profile, f)

static const struct key keys[] = {
    {"kernel", FIELD(kernel), read_file_path, "the path of a readable kernel file (bzImage or vmlinux)"},
    {"initrd", FIELD(initrd), read_file_path, "the path of a readable cpio archive"},
    {"rootfs", FIELD(rootfs), read_image_path, "the path of a readable disk image"},
    {"rootfs_format", FIELD(rootfs_format), read_format, "\"raw\" or \"qcow2\""},
    {"rootfs_backing", FIELD(rootfs_backing), read_bool, "true or false"},
    {"root", FIELD(root), read_root, "\"/dev/vda2\", \"LABEL=...\" or \"UUID=...\""},
    {"rootflags", FIELD(rootflags), read_rootflags,
     "options of the root's file system without spaces, such as \"subvol=@\", at most 255 bytes"},
    {"switch_root", FIELD(switch_root), read_switch_root, "true or false"},
    {"init", FIELD(init), read_init,
     "an absolute path in the guest without spaces, quotes and backslashes, at most 255 bytes"},
    {"append", FIELD(append), read_append, "a string of kernel options, on one line"},
    {"modules", FIELD(modules), read_dir_path, "the path of a /lib/modules/VERSION directory"},
    {"machine", FIELD(machine), read_string, "a string for QEMU's -machine, such as \"q35\""},
    {"qemu", FIELD(qemu), read_program, "the path of a QEMU program"},
    {"cpu", FIELD(cpu), read_string, "a string for QEMU's -cpu, such as \"max\""},
    {"accel", FIELD(accel), read_accel, "\"auto\", \"kvm\" or \"tcg\""},
    {"tcg_thread", FIELD(tcg_thread), read_tcg_thread, "\"auto\", \"single\" or \"multi\""},
    {"transport", FIELD(transport), read_transport, "\"auto\", \"vsock\" or \"serial\""},
    {"boot_timeout", FIELD(boot_timeout_ns), read_time, "a time such as \"30s\", \"2m\" or 30 (seconds)"},
    {"cached", FIELD(cached), read_bool, "true or false"},
    {"wait_system", FIELD(wait_system), read_bool, "true or false"},
    {"qemu_args", FIELD(qemu_args), read_list, "a list of strings"},
    {"confine", FIELD(unconfined), read_confine, "true or false"},
    {"env", FIELD(env), read_env, "a table of strings"},
    {"debug", FIELD(debug), read_debug,
     "the path of a vmlinux, a module or a directory with such files, or a list of them"},
};

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(keys); i++)
        if (!strcmp(keys[i].name, name))
            return &keys[i];
    return NULL;
}

static int unknown_key(const struct pv_config_at *at, const struct pv_toml *node, const struct pv_profile *p,
                       struct pv_err *err)
{
    const char *known[PV_ARRAY_LEN(keys) + 1] = {0}, *near;

    for (size_t i = 0; i < PV_ARRAY_LEN(keys); i++)
        known[i] = keys[i].name;
    near = pv_nearest(node->key, known);
    pv_err_set(err, PV_E_USAGE, "%s:%d: profile '%s': key '%.64s' is not known", at->file, node->line,
               p->name, node->key);
    if (near)
        pv_err_append(err, "; did you mean '%s'?", near);
    pv_err_append(err, " (expected one of:");
    for (size_t i = 0; known[i]; i++)
        pv_err_append(err, "%s %s", i ? "," : "", known[i]);
    return pv_err_append(err, ")");
}

/* The value of key `name`; its node is the table itself if the table lacks the key. */
static struct value key_value(const struct pv_config_at *at, const struct pv_toml *table,
                              const struct pv_profile *p, const char *name)
{
    struct value v = {.at = at, .node = table, .profile = p, .key = find_key(name)};

    for (size_t i = 0; i < table->n_items; i++)
        if (!strcmp(table->items[i].key, name))
            v.node = &table->items[i];
    return v;
}

static bool name_is_raw(const char *path)
{
    size_t n = strlen(path);

    return n > 4 && !strcmp(path + n - 4, ".raw");
}

/* Compares rootfs_format with the image's content, or sets it. */
static int check_rootfs(const struct pv_config_at *at, const struct pv_toml *table, struct pv_profile *p,
                        struct pv_err *err)
{
    struct value v = key_value(at, table, p, p->rootfs_format ? "rootfs_format" : "rootfs");
    struct pv_err why = PV_ERR_INIT;
    const char *found = pv_root_format(p->rootfs, &why);

    if (!found && p->rootfs_format && !strcmp(p->rootfs_format, "raw") && why.cls == PV_E_USAGE)
        return 0; /* the user overrides the table of magic numbers */
    if (!found)
        return key_error(&v, err, "'%s' %s", p->rootfs, why.text);
    /* A guest that had the disk as a raw one may have written a header to it. */
    if (!p->rootfs_format && !strcmp(found, "qcow2") && name_is_raw(p->rootfs))
        return key_error(&v, err,
                         "'%s' is a qcow2 image by its content and a raw one by its name; say which with "
                         "rootfs_format",
                         p->rootfs);
    if (!p->rootfs_format) {
        p->rootfs_format = pv_xstrdup(found);
        return 0;
    }
    if (!strcmp(p->rootfs_format, found))
        return 0;
    return key_error(&v, err, "is '%s', but '%s' is a %s image; expected \"%s\", or leave the key out",
                     p->rootfs_format, p->rootfs, found, found);
}

/* Checks combinations of keys. */
static int check_together(const struct pv_config_at *at, const struct pv_toml *table, struct pv_profile *p,
                          struct pv_err *err)
{
    static const char *const need_rootfs[] = {"rootfs_format", "rootfs_backing", "root", "rootflags"};

    if (!p->kernel)
        return pv_err_set(err, PV_E_USAGE, "%s:%d: profile '%s': key 'kernel' is missing; expected %s",
                          at->file, table->line, p->name, find_key("kernel")->expected);
    for (size_t i = 0; i < PV_ARRAY_LEN(need_rootfs); i++) {
        struct value v = key_value(at, table, p, need_rootfs[i]);

        if (v.node != table && !p->rootfs)
            return key_error(&v, err, "has no effect without `rootfs`; add that key or take this one out");
    }
    if ((p->root || p->rootflags) && p->initrd) {
        struct value v = key_value(at, table, p, p->root ? "root" : "rootflags");

        return key_error(
            &v, err,
            "has no effect with `initrd`, whose own init mounts the root; take one of the two out, or "
            "tell that init with `append`");
    }
    if (p->switch_root != PV_SWITCH_ROOT_AUTO && !p->initrd) {
        struct value v = key_value(at, table, p, "switch_root");

        return key_error(&v, err, "has no effect without `initrd`; add that key or take this one out");
    }
    struct value append = key_value(at, table, p, "append");
    cleanup_free char *fault = pv_append_fault(p, p->append);

    if (fault)
        return key_error(&append, err, "%s", fault);
    return p->rootfs ? check_rootfs(at, table, p, err) : 0;
}

int pv_profile_read(const struct pv_config_at *at, const struct pv_toml *table, struct pv_profile *p,
                    struct pv_err *err)
{
    for (size_t i = 0; i < table->n_items; i++) {
        const struct pv_toml *node = &table->items[i];
        const struct key *key = strlen(node->key) == node->key_len ? find_key(node->key) : NULL;
        struct value v = {.at = at, .node = node, .profile = p, .key = key};

        if (!key)
            return unknown_key(at, node, p, err);
        if (key->read(&v, (char *)p + key->offset, err) < 0)
            return -1;
    }
    if (check_together(at, table, p, err) < 0)
        return -1;
    p->init_set = p->init != NULL;
    if (!p->init)
        p->init = pv_xstrdup("/sbin/init");
    if (!p->append)
        p->append = pv_xstrdup("");
    return 0;
}

void pv_profile_fini(struct pv_profile *p)
{
    char **strings[] = {&p->name, &p->kernel, &p->initrd,   &p->rootfs,  &p->rootfs_format,
                        &p->root, &p->init,   &p->append,   &p->modules, &p->machine,
                        &p->cpu,  &p->qemu,   &p->rootflags};

    for (size_t i = 0; i < PV_ARRAY_LEN(strings); i++) {
        free(*strings[i]);
        *strings[i] = NULL;
    }
    pv_strv_free(&p->qemu_args);
    pv_strv_free(&p->env);
    pv_strv_free(&p->debug);
}

/* SPDX-License-Identifier: MIT */
#include "conf.h"

#include <string.h>

#include "util.h"

static bool plain_name(const char *s)
{
    return *s && !strchr(s, '/') && !strchr(s, ' ') && strcmp(s, ".") && strcmp(s, "..");
}

static const char *set_once(const char **slot, const char *value)
{
    if (*slot)
        return "is there twice";
    *slot = value;
    return NULL;
}

static const char *set_module(struct ag_conf *c, char *value)
{
    if (!plain_name(value))
        return "wants a file name without '/'";
    if (c->n_modules == AG_MODULES_MAX)
        return "is there too often";
    c->modules[c->n_modules++] = value;
    return NULL;
}

static const char *set_fsmodule(struct ag_conf *c, char *value)
{
    char *file = strchr(value, ' ');

    if (!file)
        return "wants TYPE FILE";
    *file++ = '\0';
    if (!plain_name(value) || !plain_name(file))
        return "wants TYPE FILE without '/'";
    if (c->n_fs_modules == AG_MODULES_MAX)
        return "is there too often";
    c->fs_modules[c->n_fs_modules].type = value;
    c->fs_modules[c->n_fs_modules++].file = file;
    return NULL;
}

static const char *set_rootfs(struct ag_conf *c, char *value)
{
    return plain_name(value) ? set_once(&c->rootfs, value) : "wants a device name like vda";
}

static const char *set_share(struct ag_conf *c, char *value)
{
    return plain_name(value) ? set_once(&c->share, value) : "wants a tag";
}

static const char *set_share_rw(struct ag_conf *c, char *value)
{
    c->share_writable = true;
    return set_share(c, value);
}

static const char *set_share_type(struct ag_conf *c, char *value)
{
    if (strcmp(value, "9p") && strcmp(value, "virtiofs"))
        return "wants 9p or virtiofs";
    return set_once(&c->share_type, value);
}

static const char *set_work_share(struct ag_conf *c, char *value)
{
    char *dir = strchr(value, ' ');

    if (!dir || dir[1] != '/')
        return "wants TAG DIRECTORY";
    *dir++ = '\0';
    c->work_dir = dir;
    return plain_name(value) ? set_once(&c->work_share, value) : "wants TAG DIRECTORY";
}

static const char *set_idle(struct ag_conf *c, char *value)
{
    c->idle = true;
    return strcmp(value, "idle") ? "wants idle" : NULL;
}

static const char *set_root(struct ag_conf *c, char *value)
{
    return set_once(&c->root, value);
}

static const char *set_rootflags(struct ag_conf *c, char *value)
{
    return set_once(&c->rootflags, value);
}

static const char *set_initfallback(struct ag_conf *c, char *value)
{
    return *value == '/' ? set_once(&c->init_fallback, value) : "wants an absolute path";
}

static const char *set_serial(struct ag_conf *c, char *value)
{
    return plain_name(value) ? set_once(&c->serial, value) : "wants the name of a port";
}

static const char *set_userland(struct ag_conf *c, char *value)
{
    return plain_name(value) ? set_once(&c->userland, value) : "wants a host name";
}

static const char *set_sums(struct ag_conf *c, char *value)
{
    return plain_name(value) ? set_once(&c->sums, value) : "wants a file name without '/'";
}

static const char *set_switch_root(struct ag_conf *c, char *value)
{
    return !strcmp(value, "auto") || !strcmp(value, "yes") || !strcmp(value, "no")
               ? set_once(&c->switch_root, value)
               : "wants auto, yes or no";
}

static const struct {
    const char *key;
    const char *(*set)(struct ag_conf *c, char *value);
} keys[] = {
    {"module", set_module},
    {"fsmodule", set_fsmodule},
    {"rootfs", set_rootfs},
    {"share", set_share},
    {"sharerw", set_share_rw},
    {"workshare", set_work_share},
    {"sharetype", set_share_type},
    {"idle", set_idle},
    {"root", set_root},
    {"initfallback", set_initfallback},
    {"serial", set_serial},
    {"userland", set_userland},
    {"sums", set_sums},
    {"rootflags", set_rootflags},
    {"switchroot", set_switch_root},
};

static const char *parse_line(struct ag_conf *c, char *line)
{
    char *value = strchr(line, ' ');

    if (!value)
        return "has no value";
    *value++ = '\0';
    if (!*value)
        return "has no value";
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(line, keys[i].key) == 0)
            return keys[i].set(c, value);
    return "is no setting that this guest init knows";
}

bool ag_conf_parse(char *text, struct ag_conf *c, char *why, size_t cap)
{
    unsigned number = 1;

    memset(c, 0, sizeof(*c));
    for (char *line = text, *next; *line; line = next, number++) {
        char *end = strchrnul(line, '\n');

        next = *end ? end + 1 : end;
        *end = '\0';
        if (!*line)
            continue;
        const char *bad = parse_line(c, line);
        if (bad) {
            ag_format(why, cap, "line %u: '%.64s' %s", number, line, bad);
            return false;
        }
    }
    return true;
}

bool ag_cmdline_get(const char *cmdline, const char *key, char *dst, size_t cap)
{
    size_t key_len = strlen(key);
    bool found = false;

    for (const char *p = cmdline; *p;) {
        while (*p == ' ' || *p == '\n' || *p == '\t')
            p++;
        bool match = strncmp(p, key, key_len) == 0 && p[key_len] == '=';
        bool in_quotes = false;
        size_t n = 0;

        if (match)
            p += key_len + 1;
        for (; *p && (in_quotes || (*p != ' ' && *p != '\n' && *p != '\t')); p++) {
            if (*p == '"') {
                in_quotes = !in_quotes;
                continue;
            }
            if (match && n < cap)
                dst[n++] = *p;
        }
        if (match && n < cap) {
            dst[n] = '\0';
            found = n > 0;
        } else if (match) {
            found = false;
        }
    }
    return found;
}

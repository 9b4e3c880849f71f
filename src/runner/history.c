/* SPDX-License-Identifier: MIT */
/*
 * CACHE/history/HASH.json, HASH of the project's directory, below 0700:
 *
 *     {"schema": "provium-history/1", "project": "/home/u/p",
 *      "files": {"tests/boot.lua": {"duration_ns": 2100000000, "failed": false}}}
 *
 * A file that is named by --history has the same form, without "project", because it may be
 * taken to other machines.  HASH.json.lock is held while saving; a lock on the file itself
 * would be lost at the rename.
 */
#include "runner/history.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/hash.h"
#include "util/cachedir.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/lock.h"
#include "util/mem.h"
#include "util/path.h"

#define SCHEMA "provium-history/1"
#define LOCK_LIMIT (5 * PV_NSEC_PER_SEC)

enum { HISTORY_MAX = 32 << 20 };

struct pv_history {
    char *project;          /* real path */
    char *path;             /* for messages; NULL: there is no place for it */
    struct pv_cachedir dir; /* not open for a named one */
    char *name;             /* of the file in dir; for a named one its path */
    char *why_not;          /* then */
    bool named;             /* by the user: for any directory */
    bool partial, read_only;
    bool known;
    json_t *files; /* the entries as read, with those of `put` */
    json_t *put;   /* of this run */
};

static char *path_real(const char *path)
{
    char buf[PATH_MAX];

    return pv_xstrdup(realpath(path, buf) ? buf : path);
}

/* For the file's name; "project" in the file detects collisions. */
static uint64_t path_hash(const char *s)
{
    return pv_hash(PV_HASH_BEGIN, s, strlen(s));
}

/* Sets h->path, or h->why_not. */
static void history_choose_place(struct pv_history *h, const char *file)
{
    struct pv_err err = PV_ERR_INIT;

    h->named = file != NULL;
    if (file) {
        h->path = pv_xstrdup(file);
        h->name = pv_xstrdup(file);
    } else if (pv_cachedir_open(&h->dir, "history", &err) == 0) {
        h->name = pv_xasprintf("%016llx.json", (unsigned long long)path_hash(h->project));
        h->path = pv_path_join(h->dir.path, h->name);
    } else {
        h->why_not = pv_xstrdup(err.text);
    }
}

/* ---- reading ---- */

static bool entry_is_good(const json_t *e)
{
    const json_t *duration = json_object_get(e, "duration_ns");

    if (!json_is_object(e) || !json_is_boolean(json_object_get(e, "failed")))
        return false;
    return !duration || (json_is_integer(duration) && json_integer_value(duration) >= 0);
}

/* NULL for a valid history of this project, else its fault. */
static const char *history_fault(const struct pv_history *h, const json_t *top)
{
    const char *schema = json_string_value(json_object_get(top, "schema"));
    const char *project = json_string_value(json_object_get(top, "project"));
    json_t *files = json_object_get(top, "files"), *entry;
    const char *name;

    if (!schema || strcmp(schema, SCHEMA) != 0)
        return "it is no " SCHEMA;
    if (!h->named && (!project || strcmp(project, h->project) != 0))
        return "it is of another project";
    if (!json_is_object(files))
        return "it has no files";
    json_object_foreach(files, name, entry)
    {
        if (!entry_is_good(entry))
            return "an entry is damaged";
    }
    return NULL;
}

/* A named file is the user's choice; one of the cache must be this user's.  -1: as pv_cachedir_file. */
static int history_open(const struct pv_history *h, struct pv_err *err)
{
    int fd;

    if (!h->named)
        return pv_cachedir_file(&h->dir, h->name, O_RDONLY, err);
    fd = open(h->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? pv_err_set_at(err, PV_E_HOST, errno, __FILE__, __LINE__, "cannot open it") : fd;
}

/* The files in it; NULL with why "" when there is none yet, else the reason. */
static json_t *history_read_files(const struct pv_history *h, char why[static 400])
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_close int fd = history_open(h, &err);
    cleanup_buf struct pv_buf text = {0};
    json_error_t je;
    json_t *top, *files;
    struct stat st;
    const char *bad;
    ssize_t n;

    why[0] = '\0';
    if (fd < 0) {
        if (err.errnum != ENOENT)
            snprintf(why, 400, "%.399s", err.text);
        return NULL;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > HISTORY_MAX) {
        snprintf(why, 400, "it is no file of a size that a history has");
        return NULL;
    }
    /* As a whole: json_loadfd reads a byte at a time, which takes longer than a test file of one assertion.
     */
    n = pv_pread_all(fd, pv_buf_reserve(&text, (size_t)st.st_size), (size_t)st.st_size, 0);
    if (n < 0) {
        snprintf(why, 400, "%s", strerror(errno));
        return NULL;
    }
    top = json_loadb(text.data, (size_t)n, JSON_REJECT_DUPLICATES, &je);
    if (!top) {
        snprintf(why, 400, "line %d: %s", je.line, je.text);
        return NULL;
    }
    bad = history_fault(h, top);
    files = bad ? NULL : json_incref(json_object_get(top, "files"));
    if (bad)
        snprintf(why, 400, "%s", bad);
    json_decref(top);
    return files;
}

struct pv_history *pv_history_load(const char *project, const char *file, char notice[static 512])
{
    struct pv_history *h = pv_xcalloc(1, sizeof(*h));
    char why[400];

    notice[0] = '\0';
    h->project = path_real(project);
    h->put = json_object();
    h->dir = (struct pv_cachedir)PV_CACHEDIR_INIT;
    history_choose_place(h, file);
    if (!h->path) {
        snprintf(notice, 512, "the last run's results are not kept: %.400s", h->why_not);
    } else {
        h->files = history_read_files(h, why);
        h->known = h->files != NULL;
        if (why[0])
            snprintf(notice, 512, "the record of earlier runs, '%.180s', is ignored: %.250s", h->path, why);
    }
    if (!h->files)
        h->files = json_object();
    return h;
}

void pv_history_free(struct pv_history *h)
{
    if (!h)
        return;
    json_decref(h->files);
    json_decref(h->put);
    free(h->project);
    free(h->path);
    free(h->name);
    pv_cachedir_close(&h->dir);
    free(h->why_not);
    free(h);
}

bool pv_history_known(const struct pv_history *h)
{
    return h->known;
}

const char *pv_history_path(const struct pv_history *h)
{
    return h->path ? h->path : "";
}

/* ---- entries ---- */

/*
 * The path below the project, as JSON takes it: bytes that are no UTF-8 (and '%') as %XX.  The directories
 * are resolved, the file's own name is not: a link to a test is a test of its own.
 */
static char *history_key(const struct pv_history *h, const char *path)
{
    cleanup_free char *given = pv_path_dirname(path), *dir = path_real(given);
    cleanup_free char *full = pv_xasprintf("%s/%s", strcmp(dir, "/") ? dir : "", pv_path_basename(path));
    size_t n = strlen(h->project);
    const char *rest = full;
    struct pv_buf key = {0};

    if (!strncmp(full, h->project, n) && full[n] == '/')
        rest = full + n + 1;
    pv_buf_adds(&key, "");
    for (const char *p = rest; *p; p++)
        if (*p == '%' || (*p & 0x80))
            pv_buf_addf(&key, "%%%02X", (unsigned char)*p);
        else
            pv_buf_addc(&key, *p);
    return key.data;
}

static const json_t *history_entry(const struct pv_history *h, const char *path)
{
    cleanup_free char *key = history_key(h, path);

    return json_object_get(h->files, key);
}

int64_t pv_history_duration(const struct pv_history *h, const char *path)
{
    const json_t *duration = json_object_get(history_entry(h, path), "duration_ns");

    return duration ? json_integer_value(duration) : -1;
}

bool pv_history_failed(const struct pv_history *h, const char *path)
{
    return json_is_true(json_object_get(history_entry(h, path), "failed"));
}

void pv_history_partial(struct pv_history *h)
{
    h->partial = true;
}

void pv_history_read_only(struct pv_history *h)
{
    h->read_only = true;
}

void pv_history_put(struct pv_history *h, const char *path, bool failed, int64_t duration_ns)
{
    cleanup_free char *key = history_key(h, path);
    json_t *e;

    if (h->read_only || (h->partial && !failed))
        return;
    e = json_pack("{s:b}", "failed", failed);
    if (duration_ns >= 0 && !h->partial)
        json_object_set_new(e, "duration_ns", json_integer(duration_ns));
    json_object_set_new(h->put, key, e);
}

/* ---- saving ---- */

static void history_merge_entry(json_t *files, const char *key, json_t *put)
{
    json_t *old = json_object_get(files, key), *duration = json_object_get(old, "duration_ns");

    if (duration && !json_object_get(put, "duration_ns"))
        json_object_set(put, "duration_ns", duration);
    json_object_set(files, key, put);
}

/* Test files of this project that were removed or renamed; others may be on another machine. */
static void history_forget_gone(const struct pv_history *h, json_t *files)
{
    const char *key;
    json_t *entry;
    void *next;

    json_object_foreach_safe(files, next, key, entry)
    {
        cleanup_free char *path = pv_path_join(h->project, key);
        struct stat st;

        if (!strchr(key, '%') && lstat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
            json_object_del(files, key);
    }
}

static int history_open_lock(const struct pv_history *h, struct pv_err *err)
{
    cleanup_free char *name = pv_xasprintf("%s.lock", h->name);
    int fd;

    if (!h->named)
        return pv_cachedir_file(&h->dir, name, O_RDWR | O_CREAT, err);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    return fd < 0 ? pv_err_sys(err, errno, "cannot open '%s'", name) : fd;
}

static int history_lock(const struct pv_history *h, struct pv_err *err)
{
    cleanup_close int fd = history_open_lock(h, err);

    if (fd < 0)
        return -1;
    if (pv_lock_until(fd, pv_deadline(LOCK_LIMIT), -1) == 0) /* no loop is left at the end of a run */
        return pv_steal_fd(&fd);
    if (errno == ETIMEDOUT)
        return pv_err_set(err, PV_E_TIMEOUT, "another run has held '%s.lock' for 5 s", h->path);
    return pv_err_sys(err, errno, "cannot lock '%s.lock'", h->path);
}

static int history_write(const struct pv_history *h, json_t *files, struct pv_err *err)
{
    cleanup_free char *text = NULL;
    json_t *top;
    int rc = 0;

    top = json_pack("{s:s, s:O}", "schema", SCHEMA, "files", files);
    if (!h->named) /* a directory whose name is no UTF-8 has no history */
        json_object_set_new(top, "project", json_string(h->project));
    text = json_dumps(top, JSON_INDENT(1) | JSON_SORT_KEYS); /* json_dumpfd writes a byte at a time */
    if (!text || pv_replace_at(h->named ? AT_FDCWD : h->dir.fd, h->name, text, strlen(text)) < 0)
        rc = pv_err_sys(err, errno, "cannot write '%s'", h->path);
    json_decref(top);
    return rc;
}

int pv_history_save(struct pv_history *h, struct pv_err *err)
{
    cleanup_close int held = -1;
    char why[400];
    const char *key;
    json_t *entry, *now;

    if (json_object_size(h->put) == 0 || !h->path)
        return 0;
    held = history_lock(h, err);
    if (held < 0)
        return -1;
    now = history_read_files(h, why);
    if (!now && why[0] && h->named)
        return pv_err_set(err, PV_E_USAGE, "'%s' is not overwritten: %s", h->path, why);
    if (!now)
        now = json_object();
    json_object_foreach(h->put, key, entry) history_merge_entry(now, key, entry);
    if (!h->named)
        history_forget_gone(h, now);
    json_decref(h->files);
    h->files = now;
    h->known = true;
    return history_write(h, now, err);
}

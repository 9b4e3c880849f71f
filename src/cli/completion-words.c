/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/completion.h"
#include "cli/page.h"
#include "config/config.h"
#include "runner/find.h"
#include "util/err.h"
#include "util/path.h"

enum { FILES_MAX = 2000, FILE_BYTES_MAX = 1 << 20 };

/* The directory of the nearest provium.toml upward, else the working directory.  The caller frees. */
static char *project_dir(void)
{
    char *dir = getcwd(NULL, 0), *slash;

    while (dir && (slash = strrchr(dir, '/')) != NULL) {
        cleanup_free char *path = pv_path_join(dir, "provium.toml");

        if (access(path, R_OK) == 0)
            return dir;
        *slash = '\0';
    }
    free(dir);
    return pv_xstrdup(".");
}

/* The NAME of each line [profile.NAME]; the file is not checked: a missing kernel is no reason to know no names. */
static void words_profiles(const char *dir, struct pv_strv *words)
{
    cleanup_free char *path = pv_path_join(dir, "provium.toml");
    cleanup_buf struct pv_buf text = {0};
    struct pv_err ignored;

    pv_strv_add(words, "default");
    if (pv_read_file(path, FILE_BYTES_MAX, &text, &ignored) < 0 || !text.len)
        return;
    pv_buf_add(&text, "", 1);
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        line += strspn(line, " \t");
        if (!strncmp(line, "[profile.", 9)) {
            cleanup_free char *name = pv_xstrndup(line + 9, strcspn(line + 9, ".]"));

            pv_strv_add(words, name);
        }
    }
}

/* The scripts in fixtures and tests/fixtures beside provium.toml. */
static void words_fixtures(const char *project, struct pv_strv *words)
{
    static const char *const dirs[] = {"fixtures", "tests/fixtures"};

    for (size_t i = 0; i < PV_ARRAY_LEN(dirs); i++) {
        cleanup_free char *path = pv_path_join(project, dirs[i]);
        DIR *dir = opendir(path);
        struct dirent *e;

        while (dir && (e = readdir(dir)) != NULL) {
            size_t n = strlen(e->d_name);
            cleanup_free char *name = pv_xstrndup(e->d_name, n > 4 ? n - 4 : 0);

            if (*name && !strcmp(e->d_name + n - 4, ".lua"))
                pv_strv_add(words, name);
        }
        if (dir)
            closedir(dir);
    }
}

/* The strings of `tags = {"a", "b"}` in a test file's text, which is not run. */
static void file_tags(const char *s, struct pv_strv *words)
{
    while ((s = strstr(s, "tags")) != NULL) {
        s += strlen("tags");
        s += strspn(s, " \t\n");
        if (*s != '=')
            continue;
        s += 1 + strspn(s + 1, " \t\n");
        if (*s != '{')
            continue;
        for (s++; *s && *s != '}'; s++) {
            size_t n = *s == '"' || *s == '\'' ? strcspn(s + 1, "\"'\n") : 0;
            cleanup_free char *tag = pv_xstrndup(s + 1, n);

            if (n)
                pv_strv_add(words, tag);
            s += n ? n + 1 : 0;
            if (!*s)
                return;
        }
    }
}

static void words_tags(const char *project, struct pv_strv *words)
{
    cleanup_strv struct pv_strv paths = {0}, only = {0};
    struct pv_err ignored;
    struct pv_config *config =
        pv_config_load(NULL, NULL, &ignored); /* for its patterns; NULL: it is not valid */
    struct pv_find_rule rule = {.patterns = config ? &config->tests : NULL, .base = project};
    struct pv_test_list list = {0};

    pv_strv_add(&paths, "tests");
    if (pv_find_tests(&paths, &rule, &only, true, &list, &ignored) == 0)
        for (size_t i = 0; i < list.n && i < FILES_MAX; i++) {
            cleanup_buf struct pv_buf text = {0};

            if (pv_read_file(list.v[i].path, FILE_BYTES_MAX, &text, &ignored) == 0 && text.len) {
                pv_buf_add(&text, "", 1);
                file_tags(text.data, words);
            }
        }
    pv_test_list_free(&list);
    pv_config_free(config);
}

static void words_topics(const char *project, struct pv_strv *words)
{
    (void)project;
    for (const struct pv_command *const *c = pv_commands; *c; c++)
        pv_strv_add(words, (*c)->name);
    pv_help_pages(words);
}

static int word_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool pv_completion_words(const char *kind, struct pv_strv *words)
{
    static const struct {
        const char *kind;
        void (*add)(const char *project, struct pv_strv *words);
    } kinds[] = {{"profiles", words_profiles},
                 {"fixtures", words_fixtures},
                 {"tags", words_tags},
                 {"topics", words_topics}};
    cleanup_free char *project = project_dir();

    for (size_t i = 0; i < PV_ARRAY_LEN(kinds); i++) {
        if (strcmp(kind, kinds[i].kind) != 0)
            continue;
        kinds[i].add(project, words);
        if (words->n)
            qsort(words->v, words->n, sizeof(*words->v), word_order);
        return true;
    }
    return false;
}

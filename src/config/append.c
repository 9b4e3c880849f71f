/* SPDX-License-Identifier: MIT */
#include "config/append.h"

#include <stdbool.h>
#include <string.h>

#include "config/config.h"
#include "util/mem.h"

static const struct {
    const char *word, *instead;
} ignored[] = {
    {"init=", "is ignored beside rdinit=: set the profile's key `init`, or provium.init= here"},
    {"root=", "is ignored, because guest init mounts the root image: set the profile's key `root`"},
    {"rootfstype=", "is ignored, because guest init finds the type of the root image by itself: take it out"},
    {"rootflags=", "is ignored, because guest init mounts the root image: set the profile's key `rootflags`"},
    {"ro", "is ignored: the root image is read-only anyway, below an overlay in RAM that takes writes: take "
           "it out"},
};

/* The next word at *p, outside of double quotes as the kernel splits them; 0: there is none. */
static size_t next_word(const char **p)
{
    bool quoted = false;
    size_t n = 0;

    *p += strspn(*p, " \t");
    for (; (*p)[n] && (quoted || ((*p)[n] != ' ' && (*p)[n] != '\t')); n++)
        if ((*p)[n] == '"')
            quoted = !quoted;
    return n;
}

static bool word_is(const char *at, size_t n, const char *word)
{
    size_t len = strlen(word);

    return word[len - 1] == '=' ? n >= len && !strncmp(at, word, len) : n == len && !strncmp(at, word, n);
}

static bool has_word(const char *append, const char *word)
{
    for (size_t n; (n = next_word(&append)) > 0; append += n)
        if (word_is(append, n, word))
            return true;
    return false;
}

char *pv_append_fault(const struct pv_profile *p, const char *append)
{
    if (!append || p->initrd || has_word(append, "rdinit=") ||
        has_word(p->append ? p->append : "", "rdinit="))
        return NULL;
    for (size_t n; (n = next_word(&append)) > 0 && !(n == 2 && !strncmp(append, "--", 2)); append += n)
        for (size_t i = 0; i < PV_ARRAY_LEN(ignored); i++)
            if (word_is(append, n, ignored[i].word))
                return pv_xasprintf("holds '%.*s', which %s", (int)n, append, ignored[i].instead);
    return NULL;
}

/* SPDX-License-Identifier: MIT */
#include "testfile/select.h"

#include <string.h>

#include "testfile/testfile.h"
#include "util/mem.h"

static const struct pv_strv no_list;

/* The list, or an empty one. */
static const struct pv_strv *list_of(const struct pv_strv *list)
{
    return list ? list : &no_list;
}

static bool list_has(const struct pv_strv *list, const char *tag)
{
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->v[i], tag))
            return true;
    return false;
}

void pv_tf_selection_tag(const struct pv_testfile *tf, struct tf_selection *s, const char *tag)
{
    s->tag_wanted = s->tag_wanted || list_has(list_of(tf->env->tags), tag);
    s->unwanted = s->unwanted || list_has(list_of(tf->env->no_tags), tag);
}

void pv_tf_selection_meta(const struct pv_testfile *tf, struct tf_selection *s, const char *key,
                          const char *value)
{
    cleanup_free char *pair = pv_xasprintf("%s=%s", key, value);

    s->meta_wanted = s->meta_wanted || list_has(list_of(tf->env->meta), pair);
    s->unwanted = s->unwanted || list_has(list_of(tf->env->no_meta), pair);
}

bool pv_tf_selected(const struct pv_testfile *tf, const struct tf_selection *s)
{
    if (s->unwanted)
        return false;
    if (tf->tests.n_open > 0) /* it inherits tags and meta of the one around it, which runs */
        return true;
    return (s->tag_wanted || list_of(tf->env->tags)->n == 0) &&
           (s->meta_wanted || list_of(tf->env->meta)->n == 0);
}

bool pv_tf_slow_tests(const struct pv_testfile *tf)
{
    return tf->env->slow_tests || list_has(list_of(tf->env->tags), "slow");
}

char *pv_tf_none_selected(const struct pv_testfile *tf)
{
    const struct {
        const char *option;
        const struct pv_strv *values;
    } options[] = {{"--tag", list_of(tf->env->tags)},
                   {"--no-tag", list_of(tf->env->no_tags)},
                   {"--meta", list_of(tf->env->meta)},
                   {"--no-meta", list_of(tf->env->no_meta)}};
    struct pv_buf b = {0};

    if (tf->tests.n_deselected == 1)
        pv_buf_adds(&b, "its one test is not selected by");
    else
        pv_buf_addf(&b, "none of its %zu tests is selected by", tf->tests.n_deselected);
    for (size_t o = 0; o < PV_ARRAY_LEN(options); o++)
        for (size_t i = 0; i < options[o].values->n; i++)
            pv_buf_addf(&b, " %s %s", options[o].option, options[o].values->v[i]);
    return b.data;
}

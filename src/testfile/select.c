/* SPDX-License-Identifier: MIT */
#include "testfile/select.h"

#include <string.h>

#include "testfile/testfile.h"
#include "util/mem.h"

static const struct pv_strv no_list;

static const struct pv_strv *wanted_tags(const struct pv_testfile *tf)
{
    return tf->env->tags ? tf->env->tags : &no_list;
}

static const struct pv_strv *unwanted_tags(const struct pv_testfile *tf)
{
    return tf->env->no_tags ? tf->env->no_tags : &no_list;
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
    s->wanted = s->wanted || list_has(wanted_tags(tf), tag);
    s->unwanted = s->unwanted || list_has(unwanted_tags(tf), tag);
}

bool pv_tf_selected(const struct pv_testfile *tf, const struct tf_selection *s)
{
    /* An inner sub-test inherits the tags of the one around it, which runs. */
    return !s->unwanted && (s->wanted || tf->tests.n_open > 0 || wanted_tags(tf)->n == 0);
}

bool pv_tf_slow_tests(const struct pv_testfile *tf)
{
    return tf->env->slow_tests || list_has(wanted_tags(tf), "slow");
}

char *pv_tf_none_selected(const struct pv_testfile *tf)
{
    struct pv_buf b = {0};

    if (tf->tests.n_deselected == 1)
        pv_buf_adds(&b, "its one test is not selected by");
    else
        pv_buf_addf(&b, "none of its %zu tests is selected by", tf->tests.n_deselected);
    for (size_t i = 0; i < wanted_tags(tf)->n; i++)
        pv_buf_addf(&b, " --tag %s", wanted_tags(tf)->v[i]);
    for (size_t i = 0; i < unwanted_tags(tf)->n; i++)
        pv_buf_addf(&b, " --no-tag %s", unwanted_tags(tf)->v[i]);
    return b.data;
}

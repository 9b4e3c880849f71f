/* SPDX-License-Identifier: MIT */
#include "testfile/rules.h"

#include <stdlib.h>

#include "disk/rule.h"
#include "testfile/testfile.h"
#include "util/mem.h"

struct tf_rule {
    struct pv_disk_rule *r;
    char *place;
    uint32_t test_id;
    struct tf_rule *next;
};

void pv_tf_rule_add(struct pv_testfile *tf, struct pv_disk_rule *r, const char *place)
{
    size_t depth = pv_tf_depth(tf);
    struct tf_rule *rule = pv_xcalloc(1, sizeof(*rule));

    *rule = (struct tf_rule){.r = pv_disk_rule_ref(r),
                             .place = pv_xstrdup(place),
                             .test_id = depth ? tf->tests.open[depth - 1].id : PV_NO_TEST,
                             .next = tf->rules.first};
    tf->rules.first = rule;
}

static void rule_free(struct tf_rule *rule)
{
    pv_disk_rule_unref(rule->r);
    free(rule->place);
    free(rule);
}

void pv_tf_rules_end(struct pv_testfile *tf, uint32_t test_id)
{
    for (struct tf_rule **at = &tf->rules.first; *at;) {
        struct tf_rule *rule = *at;

        if (rule->test_id != test_id) {
            at = &rule->next;
            continue;
        }
        if (!pv_disk_rule_hits(rule->r)) {
            cleanup_free char *text =
                pv_xasprintf("the rule '%s' of %s had no hit", pv_disk_rule_text(rule->r), rule->place);

            pv_result_note(tf->env->result, test_id, text);
        }
        *at = rule->next;
        rule_free(rule);
    }
}

void pv_tf_rules_free(struct tf_rules *rules)
{
    while (rules->first) {
        struct tf_rule *rule = rules->first;

        rules->first = rule->next;
        rule_free(rule);
    }
}

/* SPDX-License-Identifier: MIT */
#include "testfile/before-end.h"

#include "testfile/testfile.h"

void pv_tf_before_end(struct pv_testfile *tf, struct tf_guest *g)
{
    pv_tf_findings_decide_before_end(tf, g);
    pv_tf_coverage_take(tf, g);
}

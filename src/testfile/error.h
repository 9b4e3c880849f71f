/* SPDX-License-Identifier: MIT */
#ifndef PV_TESTFILE_ERROR_H
#define PV_TESTFILE_ERROR_H

#include "childproto/result.h"

struct pv_err;

/* The class, in the report, of a failure that comes of this error. */
enum pv_class pv_tf_err_class(const struct pv_err *err);

#endif

/* SPDX-License-Identifier: MIT */
/* cmocka and the headers it needs before it; the first include of a *-test.c. */
#ifndef PV_UTIL_TEST_H
#define PV_UTIL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif

/* SPDX-License-Identifier: MIT */
/* What every cmocka test includes first; for *-test.c only. */
#ifndef PV_UTIL_TEST_H
#define PV_UTIL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif

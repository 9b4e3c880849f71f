/* SPDX-License-Identifier: MIT */
/* Tells the observer (env.h) of output of a guest as it comes.  Private to the room. */
#ifndef PV_GUEST_OUTPUT_H
#define PV_GUEST_OUTPUT_H

#include <stddef.h>

#include "guest/env.h"

struct pv_exec;

/* n bytes of a console or of a command's output; source: as of the observer.  Nothing without an observer. */
void pv_output_tell(const struct pv_guest *g, const void *source, enum pv_output kind, const void *data,
                    size_t n);
/* The end of a command's output from that source. */
void pv_output_end(const struct pv_guest *g, const void *source);
/* A command begins.  `suffix` follows its text: " &", or "". */
void pv_output_tell_command(const struct pv_guest *g, const struct pv_exec *x, const char *suffix);

#endif

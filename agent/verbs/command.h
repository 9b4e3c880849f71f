/* SPDX-License-Identifier: MIT */
/* The command of an EXEC or JOB_START request. */
#ifndef PV_AGENT_VERBS_COMMAND_H
#define PV_AGENT_VERBS_COMMAND_H

#include <stdbool.h>

#include "agent/reaper.h"
#include "agent/session.h"
#include "wire/codec.h"
#include "wire/proto.h"

/* The lists' strings lie in the request's frame: they are valid while start works on it. */
struct ag_command_args {
    char cwd[PV_PATH_MAX];
    char *argv[PV_ARGS_MAX + 1], *envp[PV_ARGS_MAX + 1];
};

/* Decodes {str cwd, list argv, list environment}, the end of the payload; false when malformed. */
bool ag_command_decode(struct ag_command_args *a, struct pv_dec *d);

/* A command with these arguments and no descriptors yet (-1). */
struct ag_command ag_command_of(const struct ag_session *s, const struct ag_command_args *a);

/* The action that a report AG_FAILED is about: "exec". */
const char *ag_command_action(const struct ag_report *r);

/* A pipe, close-on-exec, whose end that stays in the agent is non-blocking.  0, or -1 with errno. */
int ag_command_pipe(int *ours, int *theirs, bool we_read);

#endif

/* SPDX-License-Identifier: MIT */
/* Signal dispositions of the supervisor, of sessions and of commands. */
#ifndef PV_AGENT_SIGNALS_H
#define PV_AGENT_SIGNALS_H

#include <stdbool.h>

/* True: ignores every signal that could end the agent.  False: restores the defaults, for a command. */
void ag_signals_ignore(bool ignore);

/* Blocks SIGCHLD and catches it where a ppoll() with an empty mask lets it through. */
void ag_signals_catch_children(void);

/* True when a SIGCHLD has come since the last call. */
bool ag_signals_children_ended(void);

#endif

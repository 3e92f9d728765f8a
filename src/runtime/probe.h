/* SPDX-License-Identifier: MIT */
/* Ways of doing things that not every device has right: each is tried before its first use. */
#ifndef COLT5_RUNTIME_PROBE_H
#define COLT5_RUNTIME_PROBE_H

#include <stdbool.h>

#include <colt5/context.h>

/* Numbers of what is tried; a range for each kind. */
enum probe {
    PROBE_ATTENTION_MMA,
    PROBE_ATTENTION_MMA_BACKWARD = PROBE_ATTENTION_MMA + 24,
    PROBE_ATTENTION_BAND = PROBE_ATTENTION_MMA_BACKWARD + 24,
    PROBE_ATTENTION_BAND_BACKWARD = PROBE_ATTENTION_BAND + 2,
    PROBE_WARPS = PROBE_ATTENTION_BAND_BACKWARD + 2,
    PROBE_REGISTERS = PROBE_WARPS + 3,
    PROBES = PROBE_REGISTERS + 16
};

/* Sets *works where the way does what its plain twin does. */
typedef colt5_status (*probe_test)(colt5_context *ctx, void *call, bool *works);

/*
 * Whether way `number` may be taken. The first time it is tested, with buffers of its own; what
 * fails there is said through the log callback, once, and is no failure of the call.
 * While the context plans, what was not tested yet counts as working.
 */
bool probe(colt5_context *ctx, size_t number, const char *what, probe_test test, void *call);

/* As probe, into *works. An error that tells nothing of the way (cancelled, the device lost, no
 * memory) is the call's: given back, and the way is tested again the next time. */
colt5_status probe_unless_stopped(colt5_context *ctx, size_t number, const char *what,
                                  probe_test test, void *call, bool *works);

#endif

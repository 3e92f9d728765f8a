/* SPDX-License-Identifier: MIT */
/* What the files of `colt5 bench --tune` share. */
#ifndef CLI_BENCH_TUNE_H
#define CLI_BENCH_TUNE_H

#include "bench_ops.h"

#define TUNE_MARGIN 0.03 /* a choice must be so much better to be taken */
#define TUNE_CALLS  16   /* ops times types of a tunable, at most */

/* An op whose time a tunable decides, and what it comes to with the standard choice. */
struct tune_call {
    struct op_call call;
    void *wanted[OP_TENSORS]; /* of outputs; NULL: an input */
};

/* How a choice does beside another. */
struct tune_result {
    bool works;   /* it runs, and comes to the same results */
    bool slower;  /* one of the ops is, by more than the margin */
    double ratio; /* how many times as fast: the geometric mean over the ops, of the type that gains
                     most */
};

/* Runs the call in a context, and keeps what comes out: what others are compared with. */
int tune_keep(colt5_context *ctx, struct tune_call *call);
/* Runs it in another: *same where the results are, within what rounding may do. What is said of a
 * call that fails is *status. */
int tune_check(colt5_context *ctx, struct tune_call *call, colt5_status *status, bool *same);
/* Both contexts, one after the other, several times over. */
int tune_race(colt5_context *best, colt5_context *other, struct tune_call *calls, size_t count,
              struct tune_result *result);
void tune_forget(struct tune_call *call);

#endif

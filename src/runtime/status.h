/* SPDX-License-Identifier: MIT */
/* Failing: one text per context (or per thread where there is none), two macros that jump. */
#ifndef COLT5_RUNTIME_STATUS_H
#define COLT5_RUNTIME_STATUS_H

#include <colt5/context.h>

/* Keeps the text, formatted, in ctx (NULL: this thread's) and gives back code, for `return
 * fail(…)`. */
colt5_status fail(colt5_context *ctx, colt5_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As fail, for an OpenCL error: "where: call: CL_NAME (number)"; picks MEMORY, LOST or OPENCL. */
colt5_status fail_cl(colt5_context *ctx, const char *where, const char *call, cl_int error);

/* "CL_OUT_OF_RESOURCES" for -5, and so on; "unknown error" for a number that has no name. */
const char *cl_error_name(cl_int error);

/* Says a line through the log callback, if there is one: of a text of several, the first. */
void say(colt5_context *ctx, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells the progress callback, if there is one; ctx may be NULL. */
void say_progress(colt5_context *ctx, const char *what, size_t done, size_t total);

/* In a function with `colt5_status status` and a label `out:`: leaves when the call fails. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != COLT5_OK) goto out;                                                          \
    } while (0)

/* At the top of a function, before anything is acquired: leaves when the condition is false. */
#define REQUIRE(ctx, condition, code, ...)                                                         \
    do {                                                                                           \
        if (!(condition)) return fail(ctx, code, __VA_ARGS__);                                     \
    } while (0)

#endif

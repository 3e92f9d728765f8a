/* SPDX-License-Identifier: MIT */
#ifndef COLT5_CONTEXT_H
#define COLT5_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#ifndef CL_TARGET_OPENCL_VERSION
    #define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

#include <colt5/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A device with a queue, the programs built for it and its scratch memory. A context belongs to one
 * thread at a time; contexts are independent of each other.
 */
typedef struct colt5_context colt5_context;

/**
 * A context on a device of its choice or yours.
 *
 * selector  [in]   which device, see below; letter case does not matter
 * ctx       [out]  the context, or NULL
 *
 *     NULL, ""         the environment's COLT5_DEVICE, else the default: a discrete GPU, an
 *                      integrated one, a CPU; of each, the vendor's driver before Mesa's rusticl
 *     P:D              numbers as colt5_devices lists them
 *     gpu, gpu:K       the first or K-th GPU (from 0) in the order of the default
 *     cpu
 *     PLATFORM:DEVICE  parts of their names, either may be empty
 *     WORD             part of the name of a device or of its platform
 *
 * Accelerators, and Mesa's Clover, are only picked by numbers or names.
 *
 * Errors: COLT5_ERROR_DEVICE (the text, from colt5_message(NULL), names what was found),
 * COLT5_ERROR_OPENCL, COLT5_ERROR_MEMORY.
 */
COLT5_API
colt5_status colt5_context_create(const char *selector, colt5_context **ctx);

/**
 * A context over OpenCL objects of the application's: they are retained, and released with the
 * context. The queue must be in-order and of this context and device.
 *
 * Errors: COLT5_ERROR_ARGUMENT (an out-of-order queue, objects that do not belong together).
 */
COLT5_API
colt5_status colt5_context_create_from_cl(cl_context cl, cl_device_id device,
                                          cl_command_queue queue, colt5_context **ctx);

/** Waits for the queue and releases everything the context holds. NULL is allowed. */
COLT5_API
void colt5_context_destroy(colt5_context *ctx);

/**
 * Waits until everything enqueued has run. Errors of kernels that ran earlier can surface here:
 * COLT5_ERROR_OPENCL, COLT5_ERROR_LOST. A lost device (a kernel that faulted, say) stays lost to
 * this context; with NVIDIA's driver to the whole process.
 */
COLT5_API
colt5_status colt5_context_finish(colt5_context *ctx);

/**
 * What the last failed call said: "op: cause: OpenCL error". With ctx NULL, the last failure on
 * this thread of a call that had no context. "" when nothing failed. Valid until the next failure.
 */
COLT5_API
const char *colt5_message(const colt5_context *ctx);

/** The OpenCL objects of a context, for an application's own work; still the context's. */
COLT5_API
cl_context colt5_context_cl(const colt5_context *ctx);
COLT5_API
cl_device_id colt5_context_device(const colt5_context *ctx);
COLT5_API
cl_command_queue colt5_context_queue(const colt5_context *ctx);

/** How float32 products are computed, those of attention among them. */
typedef enum colt5_math {
    COLT5_MATH_STRICT, /* accurate to float32, by whatever instructions; the default */
    COLT5_MATH_FAST    /* may round their inputs to the 11 bits of tf32, on NVIDIA's matrix units */
} colt5_math;

/** Sets how float32 products are computed from now on. */
COLT5_API
void colt5_context_set_math(colt5_context *ctx, colt5_math math);

/** A line for people: a warning or a notice. text ends without a newline. */
typedef void (*colt5_log_callback)(void *user, const char *text);

/** Called before long work in steps: done of total (total 0: unknown), and what is being done. */
typedef void (*colt5_progress_callback)(void *user, const char *what, size_t done, size_t total);

/** Nonzero stops the current call between two launches; it returns COLT5_CANCELLED. */
typedef int (*colt5_cancel_callback)(void *user);

/** The callbacks of a context; each may be NULL. They run on the calling thread. */
typedef struct colt5_callbacks {
    colt5_log_callback log;
    colt5_progress_callback progress;
    colt5_cancel_callback cancel;
    void *user; /* handed to each */
} colt5_callbacks;

/** Sets the callbacks; NULL removes them. The struct is copied. */
COLT5_API
void colt5_context_set_callbacks(colt5_context *ctx, const colt5_callbacks *callbacks);

/**
 * Host memory for everything this library allocates itself. All three must be set, or all NULL
 * for malloc, realloc and free. Call it before anything else, from one thread.
 */
typedef struct colt5_allocator {
    void *(*allocate)(void *user, size_t bytes);
    void *(*reallocate)(void *user, void *memory, size_t bytes);
    void (*release)(void *user, void *memory);
    void *user;
} colt5_allocator;

/** Sets the process's allocator. Errors: COLT5_ERROR_ARGUMENT when only some are set. */
COLT5_API
colt5_status colt5_set_allocator(const colt5_allocator *allocator);

/** What a context has done and holds; memory in bytes. */
typedef struct colt5_statistics {
    size_t struct_size; /* sizeof(colt5_statistics), set by the caller */
    uint64_t launches;  /* kernels enqueued since the last reset */
    uint64_t flop;      /* floating-point operations of the products and attentions since then */
    uint64_t bytes;     /* least traffic to device memory of those launches */
    uint64_t workspace; /* scratch held now */
    uint64_t workspace_peak; /* most scratch a call since the last reset used */
    uint64_t buffers;        /* bytes of tensors the context created and still holds */
    uint64_t live_objects;   /* device tensors the context made and still holds, those inside
                                layers and saved objects counted, scratch and caches not: 0 once
                                everything made in it was destroyed */
} colt5_statistics;

/** Reads the statistics. Errors: COLT5_ERROR_ARGUMENT (struct_size). */
COLT5_API
colt5_status colt5_context_statistics(colt5_context *ctx, colt5_statistics *statistics);

/** Sets launches, flop, bytes and workspace_peak to 0. */
COLT5_API
void colt5_context_reset_statistics(colt5_context *ctx);

/** The longest a workspace may grow, in bytes; 0 (default) means what the device has. */
COLT5_API
void colt5_context_limit_workspace(colt5_context *ctx, size_t bytes);

/**
 * Per-kernel timing from OpenCL events, from now on; off by default because each launch then
 * costs more. Waits for the queue; setting it again starts anew, turning it off keeps the profile.
 * Needs a queue with CL_QUEUE_PROFILING_ENABLE: contexts made by colt5_context_create get a new
 * queue when this is called (ask colt5_context_queue again), borrowed queues must have it
 * (COLT5_ERROR_ARGUMENT otherwise).
 */
COLT5_API
colt5_status colt5_context_set_profiling(colt5_context *ctx, int on);

/** One kernel's share of the profile. */
typedef struct colt5_profile_row {
    const char *kernel;   /* its name in the sources, or "copy", "cblas", "clblast"; never freed */
    uint64_t calls;       /* launches */
    uint64_t nanoseconds; /* device time of all of them */
} colt5_profile_row;

/**
 * Waits for the queue and gives the profile gathered since profiling was set, most time first, at
 * most capacity rows; *count is how many there are.
 */
COLT5_API
colt5_status colt5_context_profile(colt5_context *ctx, colt5_profile_row *rows, size_t capacity,
                                   size_t *count);

/** One command on the device; times are nanoseconds of the device's clock. */
typedef struct colt5_profile_span {
    const char *kernel;          /* as in colt5_profile_row */
    const char *part;            /* of the layer: "light attention", "router" and so on, or NULL */
    uint64_t queued, start, end; /* when it was enqueued, began and ended */
    uint64_t call;               /* the commands of one call of an op share it */
    uint64_t flop, bytes;        /* work of that call as colt5_statistics counts it, with the first
                                    of its commands; 0 with the others */
} colt5_profile_span;

/**
 * Waits for the queue and gives the commands in the order they ran, at most capacity of them:
 * the first 65536 since profiling was set. *count is how many there are.
 */
COLT5_API
colt5_status colt5_context_timeline(colt5_context *ctx, colt5_profile_span *spans, size_t capacity,
                                    size_t *count);

#ifdef __cplusplus
}
#endif
#endif

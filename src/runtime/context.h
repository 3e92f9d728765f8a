/* SPDX-License-Identifier: MIT */
/* What a context holds. Only src/runtime/ and src/gemm/ look inside. */
#ifndef COLT5_RUNTIME_CONTEXT_H
#define COLT5_RUNTIME_CONTEXT_H

#include <stdbool.h>

#include <colt5/device.h>

#include "runtime/memory.h"
#include "runtime/probe.h"
#include "runtime/program.h"
#include "runtime/status.h"
#include "runtime/tuning.h"
#include "runtime/workspace.h"

struct gemm_backends;
struct profile;
struct rotary_tables;

struct colt5_context {
    cl_context cl;
    cl_device_id device;
    cl_command_queue queue;
    bool owns_queue; /* not the application's */
    colt5_device_info info;
    colt5_callbacks callbacks;
    colt5_math math;

    char message[1024];
    bool lost; /* device loss is sticky */

    cl_mem nothing; /* stands for an absent tensor in a launch */
    struct program_cache programs;
    struct workspace workspace;
    struct tuning tuning;
    unsigned char probes[PROBES]; /* what came of them (probe.c) */
    struct profile *profile;      /* NULL: never set */
    const char *part;             /* of the layer that runs: see profile_part */

    bool planning; /* launches are counted, not made (workspace.h) */
    uint64_t launches, flop, bytes;
    uint64_t buffer_bytes;
    uint64_t workspace_peak;
    uint64_t live_tensors; /* made by colt5_tensor_create, not yet freed */

    /* What other rooms keep here, each with the function that releases it. */
    struct {
        void *state;
        void (*release)(colt5_context *ctx, void *state);
    } attached[8];
};

/* Slots of `attached`. */
enum attachment { ATTACHED_GEMM, ATTACHED_ARRIVALS, ATTACHED_ROTARY };

#endif

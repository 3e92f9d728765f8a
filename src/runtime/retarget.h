/* SPDX-License-Identifier: MIT */
/*
 * Programs for instructions that OpenCL's compiler of NVIDIA's driver refuses, though the device
 * has them (Hopper's wgmma and tensor memory accelerator): the compiler's own PTX, for another
 * target.
 *
 * Building such a source fails, but leaves its PTX as the program's binary. In that text the target
 * becomes sm_90a, and what kernels/hopper.cl asks for by RETARGET comes in: local memory beyond
 * what a source may declare, a limit of registers. The driver builds that. The new program's binary
 * is PTX again, so the cache keeps it as any other.
 */
#ifndef COLT5_RUNTIME_RETARGET_H
#define COLT5_RUNTIME_RETARGET_H

#include <stdbool.h>

#include <colt5/tensor.h>

/* Whether the device is one of these, and COLT5_RETARGET is not 0. */
bool retarget_can(const colt5_context *ctx);

/* Whether a kernel's text is to be built like this. */
bool retarget_is_for(const char *text);

/* Edits PTX so, in a buffer with RETARGET_ROOM bytes to spare. False where it lacks what is to be
 * edited, or has it more than once: half of it may be edited then. */
#define RETARGET_ROOM 128
bool retarget_edit(char *ptx);

/* A program from one that was built, or failed to, and what its build gave; NULL: there is no PTX
 * that can be edited, or the driver does not take it. */
cl_program retarget(colt5_context *ctx, cl_program source, const char *options, cl_int *error);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef COLT5_DEVICE_H
#define COLT5_DEVICE_H

#include <colt5/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What kind of device it is. */
typedef enum colt5_device_kind {
    COLT5_DEVICE_DISCRETE_GPU,
    COLT5_DEVICE_INTEGRATED_GPU,
    COLT5_DEVICE_CPU,
    COLT5_DEVICE_OTHER
} colt5_device_kind;

/** One OpenCL device. Texts are cut to fit and always end. */
typedef struct colt5_device_info {
    int platform; /* P of the selector "P:D" */
    int device;   /* D */
    colt5_device_kind kind;
    char platform_name[96];
    char name[128];
    char vendor[64];
    char driver[64];         /* driver version */
    char opencl[64];         /* CL_DEVICE_VERSION */
    uint64_t memory;         /* CL_DEVICE_GLOBAL_MEM_SIZE, bytes */
    uint64_t largest_buffer; /* CL_DEVICE_MAX_MEM_ALLOC_SIZE, bytes */
    uint64_t local_memory;   /* CL_DEVICE_LOCAL_MEM_SIZE, bytes */
    uint32_t compute_units;
    uint32_t largest_group; /* CL_DEVICE_MAX_WORK_GROUP_SIZE, work-items */
    int half_arithmetic;    /* 1: cl_khr_fp16; 16-bit storage works on every device */
    char matrix_units[32];  /* "wgmma", "mma", "mfma", "wmma", "dpas8", "dpas16" or "" where none is
                               known */
    int is_default;         /* 1: what a NULL selector picks (COLT5_DEVICE obeyed) */
    cl_platform_id platform_id;
    cl_device_id device_id;
} colt5_device_info;

/**
 * Lists the usable devices: broken platforms and platforms without devices are passed over.
 *
 * devices   [out]  at most capacity of them; may be NULL when capacity is 0
 * count     [out]  how many there are
 *
 * Errors: none for an empty list; COLT5_ERROR_OPENCL when there is no OpenCL loader or platform
 * (*count is 0, the text of colt5_message(NULL) says which file or package is missing).
 */
COLT5_API
colt5_status colt5_devices(colt5_device_info *devices, size_t capacity, size_t *count);

/** The device of a context. */
COLT5_API
const colt5_device_info *colt5_context_device_info(const colt5_context *ctx);

#ifdef __cplusplus
}
#endif
#endif

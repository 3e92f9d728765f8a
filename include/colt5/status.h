/* SPDX-License-Identifier: MIT */
#ifndef COLT5_STATUS_H
#define COLT5_STATUS_H

#if defined(__GNUC__)
    #define COLT5_API __attribute__((visibility("default")))
#else
    #define COLT5_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Every status a call can return: X(name, what it means). */
#define COLT5_STATUS_LIST(X)                                                                       \
    X(OK, "success")                                                                               \
    X(ERROR_ARGUMENT, "an argument is missing or out of its range")                                \
    X(ERROR_SHAPE, "a tensor has the wrong rank or size")                                          \
    X(ERROR_TYPE, "a tensor has the wrong element type")                                           \
    X(ERROR_MEMORY, "not enough host or device memory")                                            \
    X(ERROR_DEVICE, "no such device")                                                              \
    X(ERROR_BUILD, "a kernel does not build on this device")                                       \
    X(ERROR_OPENCL, "an OpenCL call failed")                                                       \
    X(ERROR_LOST, "the device was lost; create a new context, or where that fails start anew")     \
    X(ERROR_FILE, "a file cannot be opened, read or written")                                      \
    X(ERROR_FORMAT, "a file is damaged or not of its format")                                      \
    X(ERROR_CONFIG, "a configuration has an unknown key, a wrong type or an impossible value")     \
    X(CANCELLED, "the cancel callback asked to stop")                                              \
    X(ERROR_INTERNAL, "a fault of this library")

/** What every call returns; COLT5_OK is 0. */
typedef enum colt5_status {
#define COLT5_STATUS_ENUM(name, text) COLT5_##name,
    COLT5_STATUS_LIST(COLT5_STATUS_ENUM)
#undef COLT5_STATUS_ENUM
} colt5_status;

/** The meaning of a status, in English; never NULL, also for a value out of range. */
COLT5_API
const char *colt5_status_text(colt5_status status);

#ifdef __cplusplus
}
#endif
#endif

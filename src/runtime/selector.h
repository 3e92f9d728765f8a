/* SPDX-License-Identifier: MIT */
/* Which device a selector means: text and a list in, a place out; no OpenCL call. */
#ifndef COLT5_RUNTIME_SELECTOR_H
#define COLT5_RUNTIME_SELECTOR_H

#include <colt5/device.h>

#define NO_DEVICE SIZE_MAX

/* The place in the list of the device a selector means (colt5_context_create says its forms; NULL
 * and "" are the default, COLT5_DEVICE is the caller's business), or NO_DEVICE. */
size_t selector_pick(const char *selector, const colt5_device_info *devices, size_t count);

#endif

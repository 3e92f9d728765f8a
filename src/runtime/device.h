/* SPDX-License-Identifier: MIT */
/* Finding devices: the public list, and what a selector or an application's device means. */
#ifndef COLT5_RUNTIME_DEVICE_H
#define COLT5_RUNTIME_DEVICE_H

#include <colt5/device.h>

/* The device a selector means (colt5_context_create says its forms). */
colt5_status device_select(const char *selector, colt5_device_info *info);

/* As colt5_devices lists a device of the application's; platform and device are -1 where it is
 * not listed (a sub-device). */
colt5_status device_describe(cl_device_id device, colt5_device_info *info);

/* What the device answers for key, in host memory; the caller releases it. NULL: no host memory.
 * "" where the device has no answer. */
char *device_text(cl_device_id device, cl_device_info key);

#endif

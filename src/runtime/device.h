/* SPDX-License-Identifier: MIT */
/* Finding devices: the public list, and the selector. */
#ifndef COLT5_RUNTIME_DEVICE_H
#define COLT5_RUNTIME_DEVICE_H

#include <colt5/device.h>

/* The device a selector means (colt5_context_create says its forms). */
colt5_status device_select(const char *selector, colt5_device_info *info);

/* Fills info for a device of the application's; platform and device are -1 where it is not listed.
 */
colt5_status device_describe(cl_device_id device, colt5_device_info *info);

#endif

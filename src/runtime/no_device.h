/* SPDX-License-Identifier: MIT */
/* What to say where there is no device: what is missing, and the file or package that mends it. */
#ifndef COLT5_RUNTIME_NO_DEVICE_H
#define COLT5_RUNTIME_NO_DEVICE_H

#include <stdbool.h>

#include <colt5/device.h>

/* The OpenCL loader knows no platform. */
colt5_status fail_no_platform(colt5_status code);

/* No device is meant by the selector: names those there are. */
colt5_status fail_no_match(const char *selector, bool from_environment,
                           const colt5_device_info *devices, size_t count);

#endif

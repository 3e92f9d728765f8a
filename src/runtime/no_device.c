/* SPDX-License-Identifier: MIT */
#include "runtime/no_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/status.h"

#define VENDORS "/etc/OpenCL/vendors"

/* The cure for a machine with this driver's hardware, else the one that always works. */
static const char *cure(void)
{
    if (access("/dev/nvidiactl", F_OK) == 0 || access("/proc/driver/nvidia/version", F_OK) == 0)
        return "an NVIDIA driver is loaded: install its OpenCL part (Debian: nvidia-opencl-icd) or "
               "create " VENDORS "/nvidia.icd containing the line libnvidia-opencl.so.1";
    if (access("/dev/kfd", F_OK) == 0)
        return "an AMD GPU is there: install ROCm's OpenCL (rocm-opencl-runtime), or "
               "pocl-opencl-icd for the CPU";
    if (access("/dev/dri/renderD128", F_OK) == 0)
        return "for an Intel GPU install intel-opencl-icd, for other GPUs mesa-opencl-icd, for the "
               "CPU pocl-opencl-icd";
    return "install one, for the CPU: apt install pocl-opencl-icd";
}

/* The variables that make the loader look elsewhere: often why nothing is found. */
static const char *redirection(char *text, size_t size)
{
    static const char *const names[] = {"OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH",
                                        "OCL_ICD_FILENAMES"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (!value || !*value) continue;
        snprintf(text, size, " (%s=%.200s: unset it to look in " VENDORS ")", names[i], value);
        return text;
    }
    return "";
}

colt5_status fail_no_platform(colt5_status code)
{
    char text[320];
    return fail(NULL, code, "devices: no OpenCL driver was found%s; %s",
                redirection(text, sizeof(text)), cure());
}

/* "0:0 NAME (PLATFORM), 1:0 …", cut to fit. */
static void name_devices(const colt5_device_info *devices, size_t count, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%d:%d %s (%s)", i ? ", " : "",
                                 devices[i].platform, devices[i].device, devices[i].name,
                                 devices[i].platform_name);
}

colt5_status fail_no_match(const char *selector, bool from_environment,
                           const colt5_device_info *devices, size_t count)
{
    if (count == 0)
        return fail(NULL, COLT5_ERROR_DEVICE,
                    "devices: OpenCL drivers were found, but none has a usable device; %s", cure());
    char found[700];
    name_devices(devices, count, found, sizeof(found));
    if (!selector || !*selector)
        return fail(NULL, COLT5_ERROR_DEVICE,
                    "devices: none is picked unless it is named; there are %s", found);
    return fail(NULL, COLT5_ERROR_DEVICE, "devices: \"%.100s\"%s is none of those there are: %s",
                selector, from_environment ? " (from COLT5_DEVICE)" : "", found);
}

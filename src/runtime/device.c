/* SPDX-License-Identifier: MIT */
#include "runtime/device.h"

#include <string.h>

#include "runtime/status.h"

static void text_of(cl_device_id device, cl_device_info key, char *text, size_t size)
{
    text[0] = '\0';
    clGetDeviceInfo(device, key, size, text, NULL);
    text[size - 1] = '\0';
}

colt5_status device_describe(cl_device_id device, colt5_device_info *info)
{
    memset(info, 0, sizeof(*info));
    info->platform = info->device = -1;
    info->device_id = device;
    cl_device_type type = 0;
    size_t group = 1;
    cl_ulong value = 0;
    cl_uint units = 0;
    clGetDeviceInfo(device, CL_DEVICE_TYPE, sizeof(type), &type, NULL);
    info->kind = type & CL_DEVICE_TYPE_GPU   ? COLT5_DEVICE_DISCRETE_GPU
                 : type & CL_DEVICE_TYPE_CPU ? COLT5_DEVICE_CPU
                                             : COLT5_DEVICE_OTHER;
    text_of(device, CL_DEVICE_NAME, info->name, sizeof(info->name));
    text_of(device, CL_DEVICE_VENDOR, info->vendor, sizeof(info->vendor));
    text_of(device, CL_DRIVER_VERSION, info->driver, sizeof(info->driver));
    text_of(device, CL_DEVICE_VERSION, info->opencl, sizeof(info->opencl));
    clGetDeviceInfo(device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(value), &value, NULL);
    info->memory = value;
    clGetDeviceInfo(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(value), &value, NULL);
    info->largest_buffer = value;
    clGetDeviceInfo(device, CL_DEVICE_LOCAL_MEM_SIZE, sizeof(value), &value, NULL);
    info->local_memory = value;
    clGetDeviceInfo(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(group), &group, NULL);
    info->largest_group = (uint32_t)group;
    clGetDeviceInfo(device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(units), &units, NULL);
    info->compute_units = units;
    return COLT5_OK;
}

colt5_status device_select(const char *selector, colt5_device_info *info)
{
    (void)selector;
    cl_platform_id platforms[16];
    cl_uint count = 0;
    clGetPlatformIDs(16, platforms, &count);
    for (cl_uint p = 0; p < count && p < 16; p++) {
        cl_device_id device;
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 1, &device, NULL) == CL_SUCCESS)
            return device_describe(device, info);
    }
    return fail(NULL, COLT5_ERROR_DEVICE, "no OpenCL device");
}

colt5_status colt5_devices(colt5_device_info *devices, size_t capacity, size_t *count)
{
    *count = 1;
    return capacity ? device_select(NULL, devices) : COLT5_OK;
}

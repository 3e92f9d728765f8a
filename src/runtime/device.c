/* SPDX-License-Identifier: MIT */
#include "runtime/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/memory.h"
#include "runtime/no_device.h"
#include "runtime/selector.h"
#include "runtime/status.h"

struct device_list {
    colt5_device_info *devices;
    size_t count, capacity;
};

char *device_text(cl_device_id device, cl_device_info key)
{
    size_t size = 0;
    if (clGetDeviceInfo(device, key, 0, NULL, &size) != CL_SUCCESS) size = 0;
    char *text = host_allocate_zeroed(size + 1, 1);
    if (text && clGetDeviceInfo(device, key, size, text, NULL) != CL_SUCCESS) text[0] = '\0';
    return text;
}

static bool copy_text(cl_device_id device, cl_device_info key, char *into, size_t size)
{
    char *text = device_text(device, key);
    if (text) snprintf(into, size, "%s", text);
    host_release(text);
    return text != NULL;
}

/* A number of the device's, 0 where it has no answer. */
static cl_ulong number_of(cl_device_id device, cl_device_info key, size_t size)
{
    union {
        cl_uint narrow;
        cl_ulong wide;
    } value = {.wide = 0};
    if (clGetDeviceInfo(device, key, size, &value, NULL) != CL_SUCCESS) return 0;
    return size == sizeof(value.narrow) ? value.narrow : value.wide;
}
#define NUMBER(device, key, type) ((type)number_of(device, key, sizeof(type)))

static colt5_device_kind kind_of(cl_device_id device)
{
    const cl_device_type type = NUMBER(device, CL_DEVICE_TYPE, cl_device_type);
    if (type & CL_DEVICE_TYPE_GPU)
        return NUMBER(device, CL_DEVICE_HOST_UNIFIED_MEMORY, cl_bool) ? COLT5_DEVICE_INTEGRATED_GPU
                                                                      : COLT5_DEVICE_DISCRETE_GPU;
    return type & CL_DEVICE_TYPE_CPU ? COLT5_DEVICE_CPU : COLT5_DEVICE_OTHER;
}

static bool starts_with(const char *text, const char *start)
{
    return !strncmp(text, start, strlen(start));
}

/* By the name that AMD's driver gives a device. Not gfx908, whose bf16 units take other operands,
 * nor gfx12, whose units all do: asked for the wrong instruction, the compiler may end the process.
 */
static const char *units_of_amd(const char *name)
{
    if (starts_with(name, "gfx90a") || starts_with(name, "gfx94") || starts_with(name, "gfx95"))
        return "mfma";
    return starts_with(name, "gfx110") || starts_with(name, "gfx115") ? "wmma" : "";
}

/* The smallest sub-group of an Intel device; 0 where it does not say. */
static size_t least_sub_group(cl_device_id device)
{
    const cl_device_info sub_group_sizes_intel = 0x4108;
    size_t sizes[8], bytes = 0, least = 0;
    if (clGetDeviceInfo(device, sub_group_sizes_intel, sizeof(sizes), sizes, &bytes) != CL_SUCCESS)
        return 0;
    for (size_t i = 0; i < bytes / sizeof(size_t); i++)
        if (least == 0 || sizes[i] < least) least = sizes[i];
    return least;
}

/* Intel's units multiply for sub-groups of the smallest size only, as many columns as lanes. */
static const char *dpas_of(size_t lanes)
{
    return lanes == 8 ? "dpas8" : lanes == 16 ? "dpas16" : "";
}

/* The matrix units OpenCL C can reach on the device; "" where none are known. */
static const char *matrix_units(cl_device_id device, const char *name, const char *extensions)
{
    const cl_device_info compute_capability_major = 0x4000;
    if (strstr(extensions, "cl_nv_device_attribute_query")) {
        const cl_uint major = NUMBER(device, compute_capability_major, cl_uint);
        return major == 9 ? "wgmma" : major >= 8 ? "mma" : "";
    }
    return strstr(extensions, "cl_intel_subgroup_matrix_multiply_accumulate")
               ? dpas_of(least_sub_group(device))
               : units_of_amd(name);
}

static bool describe_texts(cl_device_id device, colt5_device_info *info)
{
    bool good = copy_text(device, CL_DEVICE_NAME, info->name, sizeof(info->name));
    good = good && copy_text(device, CL_DEVICE_VENDOR, info->vendor, sizeof(info->vendor));
    good = good && copy_text(device, CL_DRIVER_VERSION, info->driver, sizeof(info->driver));
    good = good && copy_text(device, CL_DEVICE_VERSION, info->opencl, sizeof(info->opencl));
    char *extensions = good ? device_text(device, CL_DEVICE_EXTENSIONS) : NULL;
    if (!extensions) return false;
    info->half_arithmetic = strstr(extensions, "cl_khr_fp16") != NULL;
    snprintf(info->matrix_units, sizeof(info->matrix_units), "%s",
             matrix_units(device, info->name, extensions));
    host_release(extensions);
    return true;
}

static void describe_platform(cl_device_id device, colt5_device_info *info)
{
    char name[512] = "";
    clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof(info->platform_id), &info->platform_id,
                    NULL);
    if (info->platform_id)
        clGetPlatformInfo(info->platform_id, CL_PLATFORM_NAME, sizeof(name) - 1, name, NULL);
    snprintf(info->platform_name, sizeof(info->platform_name), "%.95s", name);
}

/* All of info but the places in the list; false: no host memory. */
static bool describe(cl_device_id device, colt5_device_info *info)
{
    memset(info, 0, sizeof(*info));
    info->platform = info->device = -1;
    info->device_id = device;
    describe_platform(device, info);
    info->kind = kind_of(device);
    info->memory = NUMBER(device, CL_DEVICE_GLOBAL_MEM_SIZE, cl_ulong);
    info->largest_buffer = NUMBER(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, cl_ulong);
    info->local_memory = NUMBER(device, CL_DEVICE_LOCAL_MEM_SIZE, cl_ulong);
    info->largest_group = (uint32_t)NUMBER(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, size_t);
    info->compute_units = NUMBER(device, CL_DEVICE_MAX_COMPUTE_UNITS, cl_uint);
    return describe_texts(device, info);
}

static bool usable(cl_device_id device)
{
    return NUMBER(device, CL_DEVICE_AVAILABLE, cl_bool) &&
           NUMBER(device, CL_DEVICE_COMPILER_AVAILABLE, cl_bool) &&
           NUMBER(device, CL_DEVICE_ENDIAN_LITTLE, cl_bool);
}

static colt5_status add_device(struct device_list *list, cl_device_id device, int p, int d)
{
    if (list->count == list->capacity) {
        const size_t capacity = 2 * list->capacity + 8;
        colt5_device_info *grown = host_reallocate(list->devices, capacity * sizeof(*grown));
        REQUIRE(NULL, grown, COLT5_ERROR_MEMORY, "devices: no host memory");
        list->devices = grown;
        list->capacity = capacity;
    }
    colt5_device_info *info = &list->devices[list->count];
    REQUIRE(NULL, describe(device, info), COLT5_ERROR_MEMORY, "devices: no host memory");
    info->platform = p;
    info->device = d;
    list->count++;
    return COLT5_OK;
}

/* Adds a platform's usable devices; one that answers with an error is passed over. */
static colt5_status add_platform(struct device_list *list, cl_platform_id platform, int p)
{
    cl_uint count = 0;
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count) != CL_SUCCESS || count == 0)
        return COLT5_OK;
    cl_device_id *ids = host_allocate_zeroed(count, sizeof(*ids));
    REQUIRE(NULL, ids, COLT5_ERROR_MEMORY, "devices: no host memory");
    colt5_status status = COLT5_OK;
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, ids, NULL) == CL_SUCCESS)
        for (cl_uint d = 0; d < count && status == COLT5_OK; d++)
            if (usable(ids[d])) status = add_device(list, ids[d], p, (int)d);
    host_release(ids);
    return status;
}

static void mark_default(struct device_list *list)
{
    const size_t i = selector_pick(getenv("COLT5_DEVICE"), list->devices, list->count);
    if (i != NO_DEVICE) list->devices[i].is_default = 1;
}

/* Every usable device, in the order of the loader; the caller releases list->devices. */
static colt5_status list_devices(struct device_list *list)
{
    *list = (struct device_list){NULL, 0, 0};
    cl_uint count = 0;
    const cl_int error = clGetPlatformIDs(0, NULL, &count);
    if (error != CL_SUCCESS || count == 0) return fail_no_platform(COLT5_ERROR_OPENCL);
    cl_platform_id *platforms = host_allocate_zeroed(count, sizeof(cl_platform_id));
    REQUIRE(NULL, platforms, COLT5_ERROR_MEMORY, "devices: no host memory");
    colt5_status status = clGetPlatformIDs(count, platforms, NULL) == CL_SUCCESS
                              ? COLT5_OK
                              : fail_no_platform(COLT5_ERROR_OPENCL);
    for (cl_uint p = 0; p < count && status == COLT5_OK; p++)
        status = add_platform(list, platforms[p], (int)p);
    host_release(platforms);
    if (status == COLT5_OK) {
        mark_default(list);
        return COLT5_OK;
    }
    host_release(list->devices);
    list->devices = NULL;
    return status;
}

colt5_status device_select(const char *selector, colt5_device_info *info)
{
    struct device_list list;
    const colt5_status status = list_devices(&list);
    if (status == COLT5_ERROR_OPENCL) return fail_no_platform(COLT5_ERROR_DEVICE);
    if (status != COLT5_OK) return status;
    const bool by_environment = !selector || !*selector;
    const char *wanted = by_environment ? getenv("COLT5_DEVICE") : selector;
    const size_t i = selector_pick(wanted, list.devices, list.count);
    if (i != NO_DEVICE) *info = list.devices[i];
    const colt5_status found =
        i != NO_DEVICE ? COLT5_OK : fail_no_match(wanted, by_environment, list.devices, list.count);
    host_release(list.devices);
    return found;
}

colt5_status device_describe(cl_device_id device, colt5_device_info *info)
{
    struct device_list list;
    const colt5_status status = list_devices(&list);
    if (status == COLT5_ERROR_MEMORY) return status;
    bool found = false;
    for (size_t i = 0; i < list.count && !found; i++)
        if (list.devices[i].device_id == device) {
            *info = list.devices[i];
            found = true;
        }
    host_release(list.devices);
    REQUIRE(NULL, found || describe(device, info), COLT5_ERROR_MEMORY, "devices: no host memory");
    REQUIRE(NULL, info->largest_buffer > 0, COLT5_ERROR_ARGUMENT,
            "device: it does not answer: is it a cl_device_id?");
    return COLT5_OK;
}

colt5_status colt5_devices(colt5_device_info *devices, size_t capacity, size_t *count)
{
    REQUIRE(NULL, count && (devices || capacity == 0), COLT5_ERROR_ARGUMENT,
            "devices: count, or room for %zu devices, is missing", capacity);
    struct device_list list;
    *count = 0;
    const colt5_status status = list_devices(&list);
    if (status != COLT5_OK) return status;
    *count = list.count;
    for (size_t i = 0; i < list.count && i < capacity; i++) devices[i] = list.devices[i];
    host_release(list.devices);
    return COLT5_OK;
}

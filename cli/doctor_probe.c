/* SPDX-License-Identifier: MIT */
/* What happens in the doctor's children: OpenCL. */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "doctor.h"

enum { ROWS = 48, WIDTH = 64 };

/* Small whole numbers: products and sums of them are exact. */
static float number(size_t i)
{
    return (float)(i * 7 % 11) - 5;
}

static colt5_status make(colt5_context *ctx, size_t rows, colt5_tensor *tensor)
{
    const size_t dims[] = {1, rows, WIDTH};
    float values[ROWS * WIDTH];
    for (size_t i = 0; i < rows * WIDTH; i++) values[i] = number(i);
    const colt5_status status = colt5_tensor_create(ctx, COLT5_F32, 3, dims, tensor);
    return status == COLT5_OK ? colt5_tensor_write(ctx, tensor, values) : status;
}

/* y = x wᵀ, against the same on this processor. NULL, or what is wrong. */
static const char *test_product(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *y)
{
    static float have[ROWS * WIDTH];
    colt5_tensor w;
    if (make(ctx, WIDTH > ROWS ? ROWS : WIDTH, &w)) return colt5_message(ctx);
    const size_t O = w.dims[1], dims[] = {O, WIDTH}, out[] = {1, ROWS, O};
    const colt5_tensor weight = colt5_tensor_wrap(w.buffer, 0, COLT5_F32, 2, dims);
    const colt5_tensor product = colt5_tensor_wrap(y->buffer, 0, COLT5_F32, 3, out);
    colt5_status status = colt5_linear_forward(ctx, x, &weight, NULL, &product);
    if (status == COLT5_OK) status = colt5_tensor_read(ctx, &product, have);
    colt5_tensor_free(ctx, &w);
    if (status != COLT5_OK) return colt5_message(ctx);
    for (size_t i = 0; i < ROWS * O; i++) {
        float want = 0;
        for (size_t d = 0; d < WIDTH; d++)
            want += number(i / O * WIDTH + d) * number(i % O * WIDTH + d);
        if (have[i] != want) return "a matrix product is wrong";
    }
    return NULL;
}

/* A routed feedforward gives numbers, the same ones twice. */
static const char *test_layer(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *y)
{
    static float first[ROWS * WIDTH], second[ROWS * WIDTH];
    colt5_config config = colt5_config_default(COLT5_FEED_FORWARD);
    colt5_layer *layer = NULL;
    config.dim = WIDTH;
    config.num_heavy_tokens_ff = 8;
    const colt5_forward forward = {.struct_size = sizeof(forward), .x = x, .y = y};
    colt5_status status = colt5_layer_create(ctx, &config, COLT5_F32, &layer);
    if (status == COLT5_OK) status = colt5_layer_initialise(layer, 1);
    for (int i = 0; i < 2 && status == COLT5_OK; i++) {
        status = colt5_layer_forward(ctx, layer, &forward);
        if (status == COLT5_OK) status = colt5_tensor_read(ctx, y, i ? second : first);
    }
    colt5_layer_destroy(layer);
    if (status != COLT5_OK) return colt5_message(ctx);
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        if (!isfinite(first[i])) return "a routed feedforward gives no numbers";
    return memcmp(first, second, sizeof(first)) ? "a routed feedforward gives other numbers twice"
                                                : NULL;
}

static json_t *self_test(const char *selector)
{
    const double start = seconds_now();
    colt5_context *ctx;
    colt5_tensor x = {.buffer = NULL}, y = {.buffer = NULL};
    if (colt5_context_create(selector, &ctx)) return json_string(colt5_message(NULL));
    const char *wrong = NULL;
    if (make(ctx, ROWS, &x) || make(ctx, ROWS, &y)) wrong = colt5_message(ctx);
    if (!wrong) wrong = test_product(ctx, &x, &y);
    if (!wrong) wrong = test_layer(ctx, &x, &y);
    char text[96];
    snprintf(text, sizeof(text), "passed in %.1f s", seconds_now() - start);
    json_t *result = json_string(wrong ? wrong : text);
    colt5_tensor_free(ctx, &x);
    colt5_tensor_free(ctx, &y);
    colt5_context_destroy(ctx);
    return result;
}

static json_t *device_json(const colt5_device_info *info)
{
    char id[32];
    snprintf(id, sizeof(id), "%d:%d", info->platform, info->device);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "id", id, "name", info->name, "platform",
                     info->platform_name, "driver", info->driver, "opencl", info->opencl, "memory",
                     (json_int_t)info->memory);
}

json_t *doctor_try_driver(const void *argument)
{
    const struct doctor_driver *driver = argument;
    if (!dlopen(driver->library, RTLD_NOW | RTLD_LOCAL))
        return json_pack("{s:s+}", "failure", "does not load: ", dlerror());
    setenv("OCL_ICD_VENDORS", driver->folder, 1);
    setenv("OPENCL_VENDOR_PATH", driver->folder, 1);
    size_t count = 0;
    colt5_status status = colt5_devices(NULL, 0, &count);
    if (status != COLT5_OK || count == 0)
        return json_pack("{s:s}", "idle",
                         "brings no device: its hardware is not there, or not "
                         "open to this user");
    colt5_device_info *devices = calloc(count, sizeof(*devices));
    if (!devices) return NULL;
    status = colt5_devices(devices, count, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count && status == COLT5_OK; i++) {
        json_t *device = device_json(&devices[i]);
        json_object_set_new(device, "self_test",
                            self_test(json_string_value(json_object_get(device, "id"))));
        json_object_del(device, "id"); /* it has another one among all drivers */
        json_array_append_new(list, device);
    }
    free(devices);
    return json_pack("{s:o}", "devices", list);
}

json_t *doctor_pick_device(const void *selector)
{
    colt5_context *ctx;
    if (colt5_context_create(selector, &ctx))
        return json_pack("{s:s}", "failure", colt5_message(NULL));
    json_t *result = device_json(colt5_context_device_info(ctx));
    colt5_context_destroy(ctx);
    return result;
}

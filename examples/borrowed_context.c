/* SPDX-License-Identifier: MIT */
/*
 * An application that has OpenCL objects of its own: the library works on its queue, and on a part
 * of one of its buffers. Nothing is copied, nothing is waited for but by the application.
 *
 *     cc borrowed_context.c $(pkg-config --cflags --libs colt5 OpenCL) -o borrowed_context
 */
#include <colt5/colt5.h>
#include <stdio.h>

enum { N = 256, D = 64, BEFORE = 100 }; /* tokens, width, numbers of ours before the first token */

static int failed(const char *what)
{
    fprintf(stderr, "borrowed_context: %s\n", what);
    return 1;
}

/* A routed feedforward with seeded weights: 32 of 256 tokens go to its heavy branch. */
static colt5_status make_layer(colt5_context *ctx, colt5_layer **layer)
{
    colt5_config config = colt5_config_default(COLT5_FEED_FORWARD);
    config.dim = D;
    config.num_heavy_tokens_ff = 32;
    const colt5_status status = colt5_layer_create(ctx, &config, COLT5_F32, layer);
    return status == COLT5_OK ? colt5_layer_initialise(*layer, 1) : status;
}

static colt5_status run_layer(colt5_context *ctx, const colt5_layer *layer, cl_mem buffer)
{
    const size_t dims[] = {1, N, D};
    const colt5_tensor x = colt5_tensor_wrap(buffer, BEFORE, COLT5_F32, 3, dims);
    const colt5_tensor y = colt5_tensor_wrap(buffer, BEFORE + N * D, COLT5_F32, 3, dims);
    const colt5_forward forward = {.struct_size = sizeof(forward), .x = &x, .y = &y};
    return colt5_layer_forward(ctx, layer, &forward);
}

int main(void)
{
    /* The application's own. */
    cl_platform_id platform;
    cl_device_id device;
    cl_int error;
    if (clGetPlatformIDs(1, &platform, NULL) != CL_SUCCESS) return failed("no platform");
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL) != CL_SUCCESS)
        return failed("no device");
    cl_context cl = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    if (!cl) return failed("no context");
    cl_command_queue queue = clCreateCommandQueue(cl, device, 0, &error);
    if (!queue) return failed("no queue");
    static float numbers[BEFORE + 2 * N * D]; /* ours, x, y */
    for (size_t i = 0; i < N * D; i++) numbers[BEFORE + i] = (float)(i % 17) / 17 - 0.5f;
    cl_mem buffer = clCreateBuffer(cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof(numbers),
                                   numbers, &error);
    if (!buffer) return failed("no buffer");

    /* The library's, on top of it. */
    colt5_context *ctx;
    colt5_layer *layer;
    if (colt5_context_create_from_cl(cl, device, queue, &ctx)) return failed(colt5_message(NULL));
    if (make_layer(ctx, &layer) || run_layer(ctx, layer, buffer)) return failed(colt5_message(ctx));

    /* The same queue, in order: the result is there when this read runs. */
    if (clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof(numbers), numbers, 0, NULL, NULL))
        return failed("the buffer cannot be read");
    const float *y = numbers + BEFORE + N * D;
    printf("y[0] begins with %g %g %g %g\n", y[0], y[1], y[2], y[3]);

    colt5_layer_destroy(layer);
    colt5_context_destroy(ctx); /* what it retained is given back; the rest is ours */
    clReleaseMemObject(buffer);
    clReleaseCommandQueue(queue);
    clReleaseContext(cl);
    return 0;
}

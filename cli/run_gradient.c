/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "run.h"

int run_load_gradient(struct run *run)
{
    if (!run->grad) return EXIT_FINE;
    colt5_context *ctx = run->session.ctx;
    const int code = load_array(ctx, run->grad, run->type, &run->dy);
    if (code != EXIT_FINE) return code;
    const colt5_status status = colt5_saved_create(ctx, &run->saved);
    return status == COLT5_OK ? EXIT_FINE : complain_status(run->session.ctx, status);
}

int run_backward(struct run *run)
{
    if (!run->grad) return EXIT_FINE;
    colt5_context *ctx = run->session.ctx;
    colt5_status status = colt5_gradients_create(ctx, run->layer, &run->gradients);
    if (status == COLT5_OK && !takes_text(run->layer))
        status = colt5_tensor_create(ctx, run->type, run->x.rank, run->x.dims, &run->dx);
    if (status == COLT5_OK)
        status = colt5_layer_backward(ctx, run->layer, &run->forward,
                                      &(colt5_backward){.struct_size = sizeof(colt5_backward),
                                                        .dy = &run->dy,
                                                        .dx = run->dx.buffer ? &run->dx : NULL,
                                                        .gradients = run->gradients});
    show_progress("running backward", 0, 0);
    if (status == COLT5_OK) status = colt5_context_finish(ctx);
    end_progress();
    return status == COLT5_OK ? EXIT_FINE : complain_status(run->session.ctx, status);
}

static int write_dx(struct run *run)
{
    if (!run->dx.buffer) return EXIT_FINE;
    char path[4096];
    snprintf(path, sizeof(path), "%s/dx.npy", run->grad_output);
    float *values;
    const int code = fetch_floats(run->session.ctx, &run->dx, &values);
    if (code != EXIT_FINE) return code;
    colt5_npy array = {.type = COLT5_F32, .rank = run->dx.rank, .values = values};
    memcpy(array.dims, run->dx.dims, sizeof(array.dims));
    const colt5_status status = colt5_npy_write(path, &array);
    free(values);
    if (status != COLT5_OK) return complain_status(NULL, status);
    printf("%s\n", path);
    return EXIT_FINE;
}

static int write_gradients(struct run *run)
{
    char path[4096];
    if (mkdir(run->grad_output, 0777) != 0 && errno != EEXIST) {
        complain("%s: cannot be made: %s", run->grad_output, strerror(errno));
        return EXIT_BAD_INPUT;
    }
    const int code = write_dx(run);
    if (code != EXIT_FINE) return code;
    snprintf(path, sizeof(path), "%s/gradients.safetensors", run->grad_output);
    const colt5_status status = colt5_gradients_save(run->gradients, path);
    if (status != COLT5_OK) return complain_status(run->session.ctx, status);
    printf("%s\n", path);
    return EXIT_FINE;
}

int run_deliver_gradients(struct run *run)
{
    if (!run->grad) return EXIT_FINE;
    int code = EXIT_FINE;
    if (run->grad_output) code = write_gradients(run);
    if (code == EXIT_FINE && run->expect_grad) code = run_compare_gradients(run);
    if (!run->grad_output && !run->expect_grad)
        note("done, %s kept between forward and backward; --grad-output FOLDER keeps the gradients",
             human_bytes((double)colt5_saved_bytes(run->saved)));
    return code;
}

void run_release_gradients(struct run *run)
{
    colt5_gradients_destroy(run->gradients);
    colt5_saved_destroy(run->saved);
    colt5_tensor_free(run->session.ctx, &run->dy);
    colt5_tensor_free(run->session.ctx, &run->dx);
}

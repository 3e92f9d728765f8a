/* SPDX-License-Identifier: MIT */
/*
 * Encodes a text with a text encoder, and prints the mean of its tokens' vectors.
 *
 *     colt5 init examples/text_encoder.json --seed 1 --output model
 *     cc encode.c $(pkg-config --cflags --libs colt5) -o encode
 *     ./encode model "In the beginning was the Word"
 */
#include <colt5/colt5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const colt5_context *ctx)
{
    fprintf(stderr, "encode: %s\n", colt5_message(ctx));
    return 1;
}

int main(int count, char **arguments)
{
    colt5_context *ctx;
    colt5_layer *model;
    colt5_tensor ids, y;
    if (count != 3 || !*arguments[2]) return fprintf(stderr, "usage: encode MODEL TEXT\n"), 2;

    /* The default device; COLT5_DEVICE names another. */
    if (colt5_context_create(NULL, &ctx)) return failed(NULL);
    if (colt5_layer_load(ctx, arguments[1], COLT5_F32, &model)) return failed(ctx);

    /* One sequence of N tokens, the text's bytes; a vector of D numbers comes back for each. */
    const size_t N = strlen(arguments[2]), D = colt5_layer_config(model)->dim;
    const size_t dims[] = {1, N, D};
    int32_t *bytes = malloc(N * sizeof(*bytes));
    float *vectors = malloc(N * D * sizeof(*vectors));
    for (size_t n = 0; n < N; n++) bytes[n] = (unsigned char)arguments[2][n];
    if (colt5_tensor_create(ctx, COLT5_I32, 2, dims, &ids)) return failed(ctx);
    if (colt5_tensor_create(ctx, COLT5_F32, 3, dims, &y)) return failed(ctx);
    if (colt5_tensor_write(ctx, &ids, bytes)) return failed(ctx);

    const colt5_forward forward = {.struct_size = sizeof(forward), .x = &ids, .y = &y};
    if (colt5_layer_forward(ctx, model, &forward)) return failed(ctx);
    if (colt5_tensor_read(ctx, &y, vectors)) return failed(ctx);

    for (size_t d = 0; d < D; d++) {
        double sum = 0;
        for (size_t n = 0; n < N; n++) sum += vectors[n * D + d];
        printf("%.6f%c", sum / (double)N, d + 1 < D ? ' ' : '\n');
    }

    free(bytes);
    free(vectors);
    colt5_tensor_free(ctx, &ids);
    colt5_tensor_free(ctx, &y);
    colt5_layer_destroy(model);
    colt5_context_destroy(ctx);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Every op once more, in double precision and plain loops: what the kernels are compared with. */
#ifndef TESTS_REFERENCE_REFERENCE_H
#define TESTS_REFERENCE_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <colt5/ops/coor_descent.h>
#include <colt5/ops/sinkhorn.h>

/* activation.c */
void reference_gelu_forward(const double *x, double *y, size_t count);
void reference_gelu_backward(const double *x, const double *dy, double *dx, size_t count);
/* adamw.c: one step in place. */
struct reference_adamw {
    double learning_rate, beta1, beta2, eps, decay;
    size_t step;
};
void reference_adamw(const struct reference_adamw *options, const double *gradient, double *weight,
                     double *m, double *v, size_t count);

/* flash_attention.c: as the op's inputs; NULL where absent. */
struct reference_flash_attention {
    size_t B, Q, M, H, E, R;
    const double *q, *kv, *null_kv, *q_scores, *kv_scores;
    const uint8_t *mask;
    bool multiply_keys;
};
void reference_flash_attention(const struct reference_flash_attention *a, double *y, double *lse);
struct reference_flash_attention_gradients { /* all there; written but dnull_kv, added to */
    double *dq, *dkv, *dnull_kv, *dq_scores, *dkv_scores;
};
void reference_flash_attention_backward(const struct reference_flash_attention *a, const double *dy,
                                        const struct reference_flash_attention_gradients *d);

/* embedding.c */
void reference_embedding_forward(const int64_t *ids, const double *weight, double *y, size_t rows,
                                 size_t V, size_t D);
void reference_embedding_backward(const int64_t *ids, const double *dy, double *dweight,
                                  size_t rows, size_t V, size_t D);
void reference_token_mask(const int64_t *ids, int64_t padding, double *mask, size_t rows);
/* coor_descent.c: as SPEC writes it, with vectors; and as one number per row. dk [B][R]. */
void reference_coor_descent(const double *s, const uint8_t *mask,
                            const colt5_coor_descent_options *options, double *scores, size_t B,
                            size_t R, size_t N);
void reference_coor_descent_scalar(const double *s, const uint8_t *mask,
                                   const colt5_coor_descent_options *options, double *scores,
                                   size_t B, size_t R, size_t N);
void reference_coor_descent_backward(const double *s, const uint8_t *mask,
                                     const colt5_coor_descent_options *options,
                                     const double *dscores, double *ds, double *dk, size_t B,
                                     size_t R, size_t N);

/* cross_entropy.c: targets outside [0, V) are not counted; returns the mean. */
double reference_cross_entropy_forward(const double *logits, const int *targets, double *losses,
                                       double *lse, size_t rows, size_t V);
void reference_cross_entropy_backward(const double *logits, const int *targets, double scale,
                                      double *dlogits, size_t rows, size_t V);

/* mask_rows.c */
void reference_mask_rows(const double *x, const unsigned char *mask, double *y, size_t rows,
                         size_t D);

/* gather.c */
void reference_gather(const double *x, const int *index, double *y, size_t B, size_t N, size_t K,
                      size_t D);

/* gemm.c: C = residual + row_scale · gelu(alpha · op(A) op(B) + bias), row_scale with scale_first
 * where alpha is; or gelu'(gelu_input) · alpha · op(A) op(B). What is NULL or 0 is left out;
 * residual must not be c. */
struct reference_gemm {
    size_t M, N, K;
    int transpose_a, transpose_b;
    const double *a, *b, *bias, *row_scale, *residual, *gelu_input;
    double alpha; /* 0: 1 */
    int gelu, scale_first;
    const int *index, *scatter;
    size_t index_rows, a_rows, scatter_rows, c_rows; /* of a sample */
};
void reference_gemm(const struct reference_gemm *product, double *c);

/* linear.c: dx is written, dweight and dbias are added to */
void reference_linear_backward(const double *x, const double *weight, const double *dy,
                               double scale, double *dx, double *dweight, double *dbias,
                               size_t rows, size_t I, size_t O);

/* local_attention.c: the op's options, its sizes, qkv and the mask (NULL: absent). */
struct reference_local_attention {
    size_t B, P, Q, H, E, N, window, first_key, first_query;
    bool causal;
    const double *qkv;
    const uint8_t *mask;
};
void reference_local_attention(const struct reference_local_attention *a, double *y, double *lse);
/* dy of masked tokens counts as 0; a row of dy that is 0 asks nothing, whatever q holds. */
void reference_local_attention_backward(const struct reference_local_attention *a, const double *dy,
                                        double *dqkv);
/* norm.c; mean and scale may be NULL */
void reference_rms_norm_forward(const double *x, const double *gamma, double *y, double *scale,
                                size_t rows, size_t D);
void reference_layer_norm_forward(const double *x, const double *weight, const double *bias,
                                  double *y, double *mean, double *scale, size_t rows, size_t D);

/* dx (written) and what is added to dgamma, dweight and dbias. */
void reference_rms_norm_backward(const double *x, const double *gamma, const double *dy, double *dx,
                                 double *dgamma, size_t rows, size_t D);
void reference_layer_norm_backward(const double *x, const double *weight, const double *dy,
                                   double *dx, double *dweight, double *dbias, size_t rows,
                                   size_t D);

/* random.c */
void reference_random_uniform(uint64_t seed, uint32_t stream, uint32_t slot, uint32_t first_row,
                              double *u, size_t rows, size_t N);

/* route.c */
void reference_route_mask(const uint8_t *mask, const int *index, double *routed, size_t B, size_t R,
                          size_t N, size_t K);
void reference_gather_scores(const double *scores, const int *index, double *y, size_t rows,
                             size_t N, size_t K);
void reference_gather_scores_backward(const double *dy, const int *index, double *dscores,
                                      size_t rows, size_t N, size_t K);
void reference_block_rows(const double *s, double *s_blocks, size_t rows, size_t N, size_t width);
void reference_block_rows_backward(const double *ds_blocks, double *ds, size_t rows, size_t N,
                                   size_t width);

/* score.c */
void reference_score(const double *x, const double *token, bool per_sample, bool cosine,
                     double scale, double *s, size_t B, size_t N, size_t D, size_t R);
/* Adds to dx and dtoken; a row whose ds is 0 is not looked at. */
void reference_score_backward(const double *x, const double *token, bool per_sample, bool cosine,
                              double scale, const double *ds, double *dx, double *dtoken, size_t B,
                              size_t N, size_t D, size_t R);

/* rotary.c; positions may be NULL: n + first_position. Heads first_head + i·head_step, i < heads.
 */
void reference_rotary(double *x, const int *positions, size_t first_position, double theta,
                      size_t first_head, size_t heads, size_t head_step, bool inverse, size_t B,
                      size_t N, size_t H, size_t E);

/* scatter.c; scores, row and base may be NULL */
/* x = base + the sum (or mean) of scores·y over the slots of a row, in rows that have slots. */
void reference_scatter(const double *y, const int *index, const double *scores, bool mean,
                       const double *base, double *x, size_t B, size_t N, size_t K, size_t D);
/* As reference_scatter, and x = base + row in the others. */
void reference_scatter_fill(const double *y, const int *index, const double *scores, bool mean,
                            const double *row, const double *base, double *x, size_t B, size_t N,
                            size_t K, size_t D);
/* dy and dscores are written; mean: divided by the slots of a row. */
void reference_scatter_backward(const double *dx, const int *index, const double *scores, bool mean,
                                const double *y, double *dy, double *dscores, size_t B, size_t N,
                                size_t K, size_t D);

/* select.c */
/* The N positions of a row, first of the order first. */
void reference_order(const double *s, const uint8_t *mask, int *order, size_t N);
/* False where there is no memory. */
bool reference_select(const double *s, const uint8_t *mask, int *index, size_t B, size_t R,
                      size_t N, size_t K);

/* topk.c: g, the solver's scores of x, is given. */
bool reference_topk(const double *x, const uint8_t *mask, const double *g, double *values,
                    int *index, double *scores, double *gates, size_t B, size_t R, size_t N,
                    size_t K);
void reference_topk_gate_gradient(const double *x, const uint8_t *mask, const int *index,
                                  const double *dvalues, const double *dscores,
                                  const double *dgates, double *dg, size_t B, size_t R, size_t N,
                                  size_t K);

/* cum_softmax.c */
void reference_cum_softmax(const double *s, const uint8_t *mask, double temperature, double *scores,
                           size_t B, size_t R, size_t N);
void reference_cum_softmax_backward(const double *s, const uint8_t *mask, double temperature,
                                    const double *dscores, double *ds, size_t B, size_t R,
                                    size_t N);

/* sinkhorn.c: plan [B][R][K][N] is exp(M), 0 at masked tokens. */
void reference_sinkhorn(const double *s, const uint8_t *mask, const colt5_sinkhorn_options *options,
                        double *plan, double *index, double *scores, size_t B, size_t R, size_t N,
                        size_t K);
void reference_sinkhorn_backward(const double *s, const uint8_t *mask,
                                 const colt5_sinkhorn_options *options, const double *index,
                                 const double *dscores, double *ds, size_t B, size_t R, size_t N,
                                 size_t K);

#endif

/* SPDX-License-Identifier: MIT */
#include "bench_ops.h"

#define DESCENT                                                                                    \
    &(colt5_coor_descent_options)                                                                  \
    {                                                                                              \
        .k = (float)c->K * 1.125f, .n_iters = SOLVER_STEPS, .eps = 0.03f, .eps_init = 4,           \
        .eps_decay = 0.7f                                                                          \
    }
#define SINKHORN                                                                                   \
    &(colt5_sinkhorn_options)                                                                      \
    {                                                                                              \
        .temperature = 0.7f, .n_iters = 8, .seed = c->bench->seed                                  \
    }
#define WINDOW                                                                                     \
    &(colt5_local_attention_options)                                                               \
    {                                                                                              \
        .window = 64, .length = c->N                                                               \
    }
#define HEAVY                                                                                      \
    &(colt5_flash_attention_inputs)                                                                \
    {                                                                                              \
        .q = &t[0], .kv = &t[1], .null_kv = &t[2]                                                  \
    }

OP_BACKWARD(block_rows, colt5_block_rows(ctx, &t[0], NULL, c->N, &t[1], NULL),
            colt5_block_rows_backward(ctx, &t[1], c->N, &t[2]))
OP_BACKWARD(broadcast_row, colt5_broadcast_row(ctx, &t[0], &t[1], &t[2]),
            colt5_broadcast_row_backward(ctx, &t[1], NULL, &t[3]))
OP_BACKWARD(coor_descent, colt5_coor_descent_forward(ctx, &t[0], NULL, DESCENT, &t[1], &t[2]),
            colt5_coor_descent_backward(ctx, &t[0], NULL, DESCENT, &t[2], &t[3], &t[4], NULL))
OP_BACKWARD(cross_entropy, colt5_cross_entropy_forward(ctx, &t[0], &t[1], &t[2], NULL, NULL, &t[3]),
            colt5_cross_entropy_backward(ctx, &t[0], &t[1], NULL, &t[3], 1, &t[4]))
OP_BACKWARD(cum_softmax, colt5_cum_softmax_forward(ctx, &t[0], NULL, 1, &t[1]),
            colt5_cum_softmax_backward(ctx, &t[0], NULL, 1, &t[2], &t[3]))
OP_BACKWARD(embedding, colt5_embedding_forward(ctx, &t[0], &t[1], &t[2]),
            colt5_embedding_backward(ctx, &t[0], &t[3], &t[4]))
OP_BACKWARD(flash_attention, colt5_flash_attention_forward(ctx, HEAVY, &t[3], &t[4]),
            colt5_flash_attention_backward(ctx, HEAVY, &t[3], &t[4], &t[5],
                                           &(colt5_flash_attention_gradients){
                                               .dq = &t[6], .dkv = &t[7], .dnull_kv = &t[8]}))
OP_BACKWARD(gather_scores, colt5_gather_scores(ctx, &t[0], &t[1], &t[2]),
            colt5_gather_scores_backward(ctx, &t[3], &t[1], &t[4]))
OP_BACKWARD(gelu, colt5_gelu_forward(ctx, &t[0], &t[1]),
            colt5_gelu_backward(ctx, &t[0], &t[2], &t[3]))
OP_BACKWARD(layer_norm, colt5_layer_norm_forward(ctx, &t[0], &t[1], &t[2], &t[3], NULL, NULL),
            colt5_layer_norm_backward(ctx, &t[0], &t[1], &t[4], NULL, &t[5], &t[6], &t[7]))
OP_BACKWARD(linear, colt5_linear_forward(ctx, &t[0], &t[1], NULL, &t[2]),
            colt5_linear_backward(ctx, &t[0], &t[1], NULL, &t[3],
                                  &(colt5_linear_gradients){.dx = &t[4], .dweight = &t[5]}))
OP_BACKWARD(local_attention, colt5_local_attention_forward(ctx, &t[0], NULL, WINDOW, &t[1], &t[2]),
            colt5_local_attention_backward(ctx, &t[0], NULL, WINDOW, &t[1], &t[2], &t[3], &t[4]))
OP_BACKWARD(rms_norm, colt5_rms_norm_forward(ctx, &t[0], &t[1], &t[2], NULL),
            colt5_rms_norm_backward(ctx, &t[0], &t[1], &t[3], NULL, &t[4], &t[5]))
OP_BACKWARD(scatter, colt5_scatter(ctx, &t[0], &t[1], NULL, &t[2], &t[3]),
            colt5_scatter_backward(ctx, &t[4], &t[1], NULL, NULL, &t[5], NULL))
OP_BACKWARD(scatter_mean, colt5_scatter_mean(ctx, &t[0], &t[1], NULL, &t[2], &t[3]),
            colt5_scatter_mean_backward(ctx, &t[4], &t[1], NULL, NULL, &t[5], NULL))
OP_BACKWARD(score, colt5_score_forward(ctx, &t[0], 1, &(colt5_score_target){&t[1], &t[2]}, NULL),
            colt5_score_backward(ctx, &t[0], 1, &(colt5_score_gradient){&t[1], &t[3], &t[4]}, NULL,
                                 &t[5], 0))
OP_BACKWARD(sinkhorn, colt5_sinkhorn_forward(ctx, &t[0], NULL, SINKHORN, &t[1], &t[2], &t[3]),
            colt5_sinkhorn_backward(ctx, &t[0], NULL, SINKHORN, &t[1], &t[3], &t[4], &t[5]))
OP_BACKWARD(topk, colt5_topk_forward(ctx, &t[0], NULL, NULL, &t[1], &t[2], &t[3], NULL, &t[4]),
            colt5_topk_backward(ctx, &t[0], NULL, NULL, &t[2], &t[4],
                                &(colt5_topk_gradient){.dscores = &t[5]}, &t[6]))

const struct op backward_ops[] = {
    {"block_rows", call_block_rows, {IN_F32("B1N"), OUT_F32("B1N"), OUT_F32("B1N")}},
    {"broadcast_row", call_broadcast_row, {IN("D"), IN("BND"), OUT("BND"), OUT_F32("D")}},
    {"coor_descent",
     call_coor_descent,
     {IN_F32("B1N"), OUT_F32("B1N"), OUT_F32("B1T4"), IN_F32("B1N"), OUT_F32("B1N")}},
    {"cross_entropy",
     call_cross_entropy,
     {IN("BNV"), BYTES("BN"), OUT_F32("1"), OUT_F32("BN"), OUT("BNV")}},
    {"cum_softmax",
     call_cum_softmax,
     {IN_F32("B1N"), OUT_F32("B1N"), IN_F32("B1N"), OUT_F32("B1N")}},
    {"embedding", call_embedding, {BYTES("BN"), IN("VD"), OUT("BND"), IN("BND"), OUT_F32("VD")}},
    {"flash_attention",
     call_flash_attention,
     {IN("BKHE"), IN("B1KHF"), IN("2HE"), OUT("BKHE"), OUT_F32("BHK"), IN("BKHE"), OUT("BKHE"),
      OUT("B1KHF"), OUT_F32("2HE")}},
    {"gather_scores",
     call_gather_scores,
     {IN_F32("B1N"), INDEX("B1K"), OUT_F32("B1K"), IN_F32("B1K"), OUT_F32("B1N")}},
    {"gelu", call_gelu, {IN("BND"), OUT("BND"), IN("BND"), OUT("BND")}},
    {"layer_norm",
     call_layer_norm,
     {IN("BND"), IN("D"), IN("D"), OUT("BND"), IN("BND"), OUT("BND"), OUT_F32("D"), OUT_F32("D")}},
    {"linear",
     call_linear,
     {IN("BND"), IN("QD"), OUT("BNQ"), IN("BNQ"), OUT("BND"), OUT_F32("QD")}},
    {"local_attention",
     call_local_attention,
     {IN("BN3HE"), OUT("BNHE"), OUT_F32("BHN"), IN("BNHE"), OUT("BN3HE")}},
    {"rms_norm",
     call_rms_norm,
     {IN("BND"), IN("D"), OUT("BND"), IN("BND"), OUT("BND"), OUT_F32("D")}},
    {"scatter",
     call_scatter,
     {IN("BKD"), INDEX("BK"), IN("BND"), OUT("BND"), IN("BND"), OUT("BKD")}},
    {"scatter_mean",
     call_scatter_mean,
     {IN("BKD"), INDEX("BK"), IN("BND"), OUT("BND"), IN("BND"), OUT("BKD")}},
    {"score",
     call_score,
     {IN("BND"), IN("1D"), OUT_F32("B1N"), IN_F32("B1N"), OUT_F32("1D"), OUT("BND")}},
    {"sinkhorn",
     call_sinkhorn,
     {IN_F32("B1N"), OUT_I32("B1K"), OUT_F32("B1K"), OUT_F32("B18S"), IN_F32("B1K"),
      OUT_F32("B1N")}},
    {"topk",
     call_topk,
     {IN_F32("B1N"), OUT_F32("B1K"), OUT_I32("B1K"), OUT_F32("B1K"), OUT_F32("B1T4"), IN_F32("B1K"),
      OUT_F32("B1N")}},
    {NULL, NULL, {{NULL}}},
};

/* SPDX-License-Identifier: MIT */
/*
 * Training a text model: numbers to train by, data, the learning rate's way, the loss scale,
 * checkpoints, and the trainer that makes steps of them. A step of your own is layer.h's forward
 * and backward and a few ops: examples/train.c.
 */
#ifndef COLT5_TRAIN_H
#define COLT5_TRAIN_H

#include <stdint.h>

#include <colt5/config.h>
#include <colt5/layer.h>
#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- options ---- */

/** How to train; in brackets the default. Get it from colt5_training_options_default. */
typedef struct colt5_training_options {
    size_t struct_size;      /* sizeof(colt5_training_options) */
    size_t steps;            /* 1 to 2^40 [1000] */
    size_t seq;              /* N, bytes of a window, 2 to 2^24 [512] */
    size_t batch;            /* B, windows at once, 1 to 65536 [8] */
    size_t accumulate;       /* batches whose gradients one step adds up, 1 to 65536 [1] */
    double learning_rate;    /* at its highest, 0 to 1000 [1e-3] */
    double final_share;      /* of learning_rate, what is left in the end, 0 to 1 [0.1] */
    size_t warmup_steps;     /* 0 to 2^40 [100] */
    double beta1, beta2;     /* of AdamW, 0 to below 1 [0.9, 0.95] */
    double eps;              /* of AdamW, > 0 [1e-8] */
    double decay;            /* of AdamW, 0 to 1000 [0.1] */
    double max_norm;         /* the gradients' longest, 0 to 1e30 [1]; 0: not clipped */
    size_t seed;             /* of data, initial weights and routes, 0 to 2^53 [0] */
    double held_out_share;   /* of each file, kept from training, 0.0001 to 0.9 [0.1] */
    size_t held_out_windows; /* looked at in an evaluation, at most; 1 to 65536 [16] */
    size_t evaluate_every;   /* steps, 1 to 2^40 [50] */
    size_t checkpoint_every; /* steps, 1 to 2^40 [50] */
    colt5_type dtype;        /* f32|f16|bf16, of weights and activations [f32] */
    colt5_math math;         /* of float32 products [strict] */
    int recompute;           /* [0] compute activations again rather than keep them */
} colt5_training_options;

/** The defaults in brackets. */
COLT5_API
colt5_training_options colt5_training_options_default(void);

/** Checks every field. Errors: COLT5_ERROR_CONFIG; colt5_message(NULL) names the key and its
 * range. */
COLT5_API
colt5_status colt5_training_options_check(const colt5_training_options *options);

/**
 * Reads a file {"model": {…}, "training": {…}}: a model's config.json, and the names of the fields
 * above (dtype "f32", "f16" or "bf16", math "strict" or "fast", recompute true or false). What it
 * does not name keeps its default.
 *
 * Errors: those of colt5_config_read; both results are then undefined.
 */
COLT5_API
colt5_status colt5_training_read(const char *path, colt5_config *model,
                                 colt5_training_options *options);

/**
 * The learning rate of a step, counted from 0: up in a straight line from learning_rate /
 * warmup_steps, reached in step 0, to learning_rate in step warmup_steps - 1; then down along half
 * a cosine, from step warmup_steps on, to final_share of it in the last step and after it.
 */
COLT5_API
double colt5_learning_rate(const colt5_training_options *options, uint64_t step);

/* ---- loss scale ---- */

/** What the loss is multiplied by, so that 16-bit gradients do not vanish, and how it changes. */
typedef struct colt5_loss_scale {
    float scale;         /* a power of two */
    uint32_t good_steps; /* steps since it changed */
} colt5_loss_scale;

/** 65536 for f16; 1, for ever, for f32 and bf16, whose range needs none. */
COLT5_API
colt5_loss_scale colt5_loss_scale_start(colt5_type type);

/** What became of a step. */
typedef enum colt5_step_outcome {
    COLT5_STEP_TAKEN,
    COLT5_STEP_SKIPPED, /* gradients were not finite, a smaller scale may help: go on */
    COLT5_STEP_FAILED   /* no scale helps: stop */
} colt5_step_outcome;

/**
 * After each step, with its loss and its gradients' norm: twice the scale after 2000 good steps
 * (2^24 at most), half of it after one that is not finite; FAILED where the loss is not finite, or
 * the norm with the scale at 1.
 */
COLT5_API
colt5_step_outcome colt5_loss_scale_update(colt5_loss_scale *scale, colt5_type type, double loss,
                                           double norm);

/* ---- data ---- */

/**
 * Any files, read as bytes. The end of each is held out; what is left, and the ends, are strung
 * together in the order of the files. Files are read when a window needs them and must not change.
 *
 * Which bytes a window has, and which of them are hidden, is a pure function of the seed, of the
 * window's number and of the files' sizes, from Philox (ops/random.h), stream 4: with the counter
 * (draw, slot, row), row the number's low 32 bits, slot its high bits, plus 2^31 for a held-out
 * window, and w0, w1 the first output words,
 *
 *     draw 0      a training window starts at byte ⌊(w0 + 2^32 w1) (T - N + 1) / 2^64⌋ of the T for
 *                 training; held-out windows lie evenly over the held-out bytes
 *     draw 1, 2,  a span starts at byte ⌊w0 N / 2^32⌋ of the window, passed over where one started
 *     …           there before; its length is 1 and one more for each k of 1 … 9 with
 *                 w1 < ⌊(2/3)^k 2^32⌋: geometric of mean 3, cut at 10
 *
 * Spans are hidden, each up to the window's end, until 15 % of the window's bytes are, rounded
 * down, and at least one: the last span is cut there. Overlaps merge.
 */
typedef struct colt5_data colt5_data;

/** A file of the data. */
typedef struct colt5_data_file {
    const char *path;
    uint64_t bytes;
    uint64_t fingerprint; /* of its content */
} colt5_data_file;

/** What the data is. */
typedef struct colt5_data_info {
    const colt5_data_file *files;
    size_t file_count;
    uint64_t training_bytes;
    uint64_t held_out_bytes;
    size_t held_out_windows; /* held_out_windows of the options, or fewer: they do not overlap */
    size_t seq;              /* N, bytes of a window */
    size_t hidden;           /* hidden bytes of a window */
    /*
     * What a model scores that knows no more than how often each byte is in the training part (one
     * more than counted): mean -log2 of it over the hidden bytes of the held-out windows.
     */
    double baseline_bits;
} colt5_data_info;

/**
 * Opens files and reads all of each once.
 *
 * ctx      [in]   its progress and cancel callbacks are used, its message in failures; or NULL
 * paths    [in]   count of them, UTF-8
 * options  [in]   seq, seed, held_out_share, held_out_windows
 *
 * Errors: COLT5_ERROR_FILE (unreadable, not a regular file), COLT5_ERROR_FORMAT (a file is empty;
 * the training or the held-out part is shorter than seq: both numbers), COLT5_ERROR_CONFIG,
 * COLT5_ERROR_ARGUMENT, COLT5_ERROR_MEMORY, COLT5_CANCELLED.
 */
COLT5_API
colt5_status colt5_data_open(colt5_context *ctx, const char *const *paths, size_t count,
                             const colt5_training_options *options, colt5_data **data);

/** Gives it back. NULL is allowed. */
COLT5_API
void colt5_data_close(colt5_data *data);

/** What it is; valid while it is open. */
COLT5_API
const colt5_data_info *colt5_data_describe(const colt5_data *data);

/**
 * Training windows first … first + B - 1, hidden and not.
 *
 * ids      [out]  i32 [B][N]  bytes, 257 where hidden
 * targets  [out]  i32 [B][N]  the byte where hidden, else -1
 *
 * Batch m of step i starts at window (i · accumulate + m) · batch.
 * Errors: COLT5_ERROR_FILE, COLT5_ERROR_FORMAT (a file has changed); both undefined then. The text
 * is colt5_message(NULL)'s.
 */
COLT5_API
colt5_status colt5_data_batch(colt5_data *data, uint64_t first, size_t B, int32_t *ids,
                              int32_t *targets);

/** As colt5_data_batch, held-out windows; first + B at most held_out_windows. */
COLT5_API
colt5_status colt5_data_held_out(colt5_data *data, uint64_t first, size_t B, int32_t *ids,
                                 int32_t *targets);

/* ---- checkpoints ---- */

/** A tensor by its name in a file. */
typedef struct colt5_named_tensor {
    const char *name;
    colt5_tensor tensor;
} colt5_named_tensor;

/** All there is to know to go on, besides tensors. */
typedef struct colt5_training_state {
    size_t struct_size; /* sizeof(colt5_training_state) */
    uint64_t step;      /* steps done */
    uint64_t updates;   /* of them, those that were not skipped: the steps AdamW has seen */
    colt5_loss_scale loss_scale;
    colt5_config model;
    colt5_training_options options;
    const colt5_data_file *files;
    size_t file_count;
} colt5_training_state;

/**
 * Writes FOLDER/checkpoints/STEP/ with model.safetensors, optimizer.safetensors and state.json,
 * then removes all checkpoints but the last two. It appears whole or not at all, and is on disk
 * when this returns: a process killed at any instant leaves the checkpoints there were, or these.
 * A sound checkpoint of this step is kept as it is.
 *
 * Errors: COLT5_ERROR_FILE, COLT5_ERROR_MEMORY, COLT5_ERROR_ARGUMENT (names), COLT5_ERROR_OPENCL,
 * COLT5_ERROR_LOST; the checkpoints there were are then still there.
 */
COLT5_API
colt5_status colt5_checkpoint_save(colt5_context *ctx, const char *folder,
                                   const colt5_training_state *state,
                                   const colt5_named_tensor *model, size_t model_count,
                                   const colt5_named_tensor *optimizer, size_t optimizer_count);

/** A checkpoint open for reading. */
typedef struct colt5_checkpoint colt5_checkpoint;

/**
 * Opens the newest sound checkpoint of a folder. Every byte is checked against the sums in
 * state.json: a damaged one is said through the log callback, and the one before it is taken.
 *
 * Errors: COLT5_ERROR_FILE (there is none), COLT5_ERROR_FORMAT (none is sound),
 * COLT5_ERROR_CONFIG (the newest is of a newer version; FOLDER/config.json is another model's: the
 * text names the key), COLT5_ERROR_MEMORY.
 */
COLT5_API
colt5_status colt5_checkpoint_open(colt5_context *ctx, const char *folder,
                                   colt5_checkpoint **checkpoint);

/** Closes it. NULL is allowed. */
COLT5_API
void colt5_checkpoint_close(colt5_checkpoint *checkpoint);

/** What was saved; valid, its files too, until it is closed. */
COLT5_API
const colt5_training_state *colt5_checkpoint_state(const colt5_checkpoint *checkpoint);

/** Its folder. */
COLT5_API
const char *colt5_checkpoint_path(const colt5_checkpoint *checkpoint);

/**
 * Reads tensors, bit for bit where types agree: exactly those it holds.
 *
 * Errors: COLT5_ERROR_FORMAT (a tensor is missing, too many or of another shape: it is named),
 * COLT5_ERROR_FILE, COLT5_ERROR_OPENCL, COLT5_ERROR_LOST; tensors are then undefined.
 */
COLT5_API
colt5_status colt5_checkpoint_load(colt5_context *ctx, const colt5_checkpoint *checkpoint,
                                   const colt5_named_tensor *model, size_t model_count,
                                   const colt5_named_tensor *optimizer, size_t optimizer_count);

/**
 * Whether the data is that of a checkpoint: as many files, of the same sizes and content, in the
 * same order. Errors: COLT5_ERROR_FORMAT; colt5_message(NULL) names the file.
 */
COLT5_API
colt5_status colt5_checkpoint_check_data(const colt5_checkpoint *checkpoint,
                                         const colt5_data *data);

/* ---- the trainer ---- */

/** Device memory a training takes, in bytes. */
typedef struct colt5_training_memory {
    uint64_t weights; /* in the layer's type */
    uint64_t
        optimizer;  /* gradients, AdamW's means, and float32 weights where the type is another */
    uint64_t batch; /* ids, logits */
    uint64_t saved; /* kept between forward and backward: less with options.recompute */
    uint64_t scratch;
    uint64_t total;
} colt5_training_memory;

/**
 * Plans a training of a layer without running it.
 *
 * options  [in]  seq, batch, recompute
 *
 * Errors: COLT5_ERROR_CONFIG (not a masked_language_model, or its vocab_size lacks the symbol 257;
 * batch · seq passes 2^31 - 1), COLT5_ERROR_MEMORY (what is saved, or the scratch, is more alone
 * than the device has: the text has both numbers).
 */
COLT5_API
colt5_status colt5_training_plan(colt5_context *ctx, const colt5_layer *layer,
                                 const colt5_training_options *options,
                                 colt5_training_memory *memory);

/**
 * Whether AdamW decays a parameter: the weights of linear maps, which are those of two dimensions
 * whose name ends in ".weight". Not token_emb.weight; not norms, biases, null and routing tokens,
 * null key-values.
 */
COLT5_API
int colt5_parameter_decays(const colt5_parameter *parameter);

/**
 * Trains a masked language model (SPEC section 4): layer, data and context are the caller's and
 * must outlive it.
 *
 * The loss is the mean cross-entropy of the hidden bytes of a step's accumulate · batch windows.
 * A step is one of AdamW on its gradients, cut to max_norm together. With 16-bit weights float32
 * ones are kept beside them, which begin as they are; with f16 the loss is scaled. Batch n's
 * forward has the seed options.seed + n · routers.
 *
 * Same options, data, weights, device and build: the same weights to the bit after every step, and
 * with a save and a resume between them.
 */
typedef struct colt5_trainer colt5_trainer;

/**
 * A trainer at step 0 with the layer's weights as they are.
 *
 * data     [in]  opened with the same options
 * options  [in]  copied; dtype is the layer's type; math is set in the context
 *
 * Errors: those of colt5_training_plan; COLT5_ERROR_MEMORY (the whole is more than the device has:
 * both numbers); COLT5_ERROR_CONFIG, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT, COLT5_ERROR_OPENCL.
 */
COLT5_API
colt5_status colt5_trainer_create(colt5_context *ctx, colt5_layer *layer, colt5_data *data,
                                  const colt5_training_options *options, colt5_trainer **trainer);

/** Gives it back; the layer keeps its weights. NULL is allowed. */
COLT5_API
void colt5_trainer_destroy(colt5_trainer *trainer);

/** What a step did. */
typedef struct colt5_step_report {
    uint64_t step;              /* steps done, this one included */
    colt5_step_outcome outcome; /* FAILED: loss or gradients are not finite, see below */
    double loss;                /* nats, the mean over the step's hidden bytes */
    double bits;                /* the same in bits */
    double norm;                /* of all gradients, before they are cut */
    double learning_rate;
    double loss_scale; /* of this step */
    uint64_t skipped;  /* steps skipped so far, this one included */
} colt5_step_report;

/**
 * One step, waited for. A FAILED one, or a call that fails, leaves the weights undefined: nothing
 * can be done with the trainer then but colt5_trainer_resume and colt5_trainer_destroy.
 *
 * Errors: COLT5_ERROR_FILE, COLT5_ERROR_FORMAT (data), COLT5_ERROR_MEMORY, COLT5_ERROR_OPENCL,
 * COLT5_ERROR_LOST, COLT5_CANCELLED; COLT5_ERROR_ARGUMENT after a failed step.
 */
COLT5_API
colt5_status colt5_trainer_step(colt5_trainer *trainer, colt5_step_report *report);

/** The loss over the held-out windows, in bits per hidden byte; changes nothing. */
COLT5_API
colt5_status colt5_trainer_evaluate(colt5_trainer *trainer, double *bits);

/** How a router fared in the last step. */
typedef struct colt5_router_report {
    const char *router; /* its path */
    double norm;        /* of its routing tokens' gradient, before it is cut */
    double
        saturated; /* share of the selected tokens whose score is exactly 1, and so moves nothing,
                      in the step's last batch; NaN where it chose none, and with recompute */
} colt5_router_report;

/** How many routers the layer has. */
COLT5_API
size_t colt5_trainer_router_count(const colt5_trainer *trainer);

/** The path of router i, "layers.0.conditional_ff.router"; NULL where there is no such router. */
COLT5_API
const char *colt5_trainer_router_name(const colt5_trainer *trainer, size_t i);

/** Router i after a step. Errors: COLT5_ERROR_ARGUMENT, COLT5_ERROR_OPENCL, COLT5_ERROR_LOST. */
COLT5_API
colt5_status colt5_trainer_router(colt5_trainer *trainer, size_t i, colt5_router_report *report);

/** Saves a checkpoint: colt5_checkpoint_save of the present state. */
COLT5_API
colt5_status colt5_trainer_save(colt5_trainer *trainer, const char *folder);

/**
 * Goes on from a checkpoint, to the bit: weights and all, with the trainer's options.
 *
 * Errors: those of colt5_checkpoint_load and colt5_checkpoint_check_data.
 */
COLT5_API
colt5_status colt5_trainer_resume(colt5_trainer *trainer, const colt5_checkpoint *checkpoint);

#ifdef __cplusplus
}
#endif
#endif

// The operations of a backend, with their shapes. Layers call nothing else, and only the folders below this one know
// oneDNN or a device. An operation is a free function whose first argument is the backend.
// Shapes: beside each operation; R = B * n rows; "+=" marks an operation that adds to its output.
// Source: docs/model.md; backend/reference/ is the specification, in plain loops.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include <strata/core/view.hpp>
#include <strata/core/weight_format.hpp>

namespace strata::inline STRATA_ABI {

/// Whether an operation replaces its output or adds to it.
enum class update { replace, add };

/// Attention over B sequences of n positions. Each has `dilation` interleaved sequences: position i attends to the
/// `span` positions i, i - dilation, i - 2 dilation, .. Row layout of `qkv`: query, key, value, each [H, E].
struct attention_shape {
  index_type batch = 0, length = 0;
  int heads = 0, head_dim = 0;
  index_type span = 0;
  int dilation = 1;
  constexpr index_type dim() const { return index_type{heads} * head_dim; }
};

/// Attention across two sequences of B texts. Query i is at token i query_stride. It attends to the `span` newest keys
/// at or before that token: J, J - 1, .., where J = newest(i). Row layout of keys and values: key, value, each [H, E].
struct cross_attention_shape {
  index_type batch = 0, queries = 0;
  int query_stride = 1;
  index_type keys = 0;
  int key_stride = 1;
  int heads = 0, head_dim = 0;
  index_type span = 0;
  constexpr index_type dim() const { return index_type{heads} * head_dim; }
  constexpr index_type newest(index_type query) const {
    const index_type at_or_before = query * query_stride / key_stride;
    return at_or_before < keys ? at_or_before : keys - 1;
  }
  constexpr index_type oldest(index_type query) const { return newest(query) < span ? 0 : newest(query) - span + 1; }

  /// Pairs of a query and a key that it sees, in one text with all its keys.
  constexpr double pairs() const {
    // Pairs of queries that see 1, 1 + step, 1 + 2 step, .. keys, at most `span`.
    const auto growing = [this](index_type count, index_type step) {
      const index_type to_fill = (span - 1 + step - 1) / step, small = count < to_fill ? count : to_fill;
      return static_cast<double>(step * (small * (small - 1) / 2) + small + (count - small) * span);
    };
    if (query_stride >= key_stride) return growing(queries, query_stride / key_stride);
    const index_type together = key_stride / query_stride;  // queries that see the same keys
    const index_type groups = queries / together, rest = queries % together,
                     last = groups + 1 < span ? groups + 1 : span;
    return static_cast<double>(together) * growing(groups, 1) + static_cast<double>(rest * last);
  }
  /// Of both matrix products over the pairs.
  constexpr double flops() const { return 4 * static_cast<double>(batch * dim()) * pairs(); }
};

/// How many of the first `count` positions of a sequence routing may select: ceil(capacity count).
constexpr index_type routing_budget(double capacity, index_type count) {
  const double exact = capacity * static_cast<double>(count);
  const index_type whole = static_cast<index_type>(exact);
  return whole + (static_cast<double>(whole) < exact ? 1 : 0);
}

/// `width` columns: of x[B,n,..] from `from_column` on, of y[B,m,..] from `to_column` on. Position i of y is at token i
/// to_stride and takes the newest position of x at or before that token.
struct column_range {
  int from_stride = 1;
  index_type from_column = 0;
  int to_stride = 1;
  index_type to_column = 0, width = 0;
};

/// One step of Adam. With `decoupled`, weight decay acts on the weights (AdamW), else it is added to the gradient.
struct adam_settings {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8, weight_decay = 0.1;
  bool decoupled = true;
  double max_norm = 1;     ///< the gradient is scaled down to this norm; 0: never
  index_type step = 1;     ///< counts from 1, for the bias correction
  index_type decayed = 0;  ///< weight decay acts on elements [0, decayed)
  bool operator==(const adam_settings&) const = default;
};

/// What scales a gradient down to `max_norm`, if that is not 0 and its norm is larger.
inline double clip_factor(double max_norm, double squared_norm) {
  return max_norm > 0 && squared_norm > max_norm * max_norm ? max_norm / std::sqrt(squared_norm) : 1.0;
}

/// Constants of one step of Adam, computed once a step.
struct adam_constants {
  double clip, correction1, correction2;
  adam_constants(const adam_settings& settings, double squared_norm)
      : clip(clip_factor(settings.max_norm, squared_norm)),
        correction1(1 / (1 - std::pow(settings.beta1, static_cast<double>(settings.step)))),
        correction2(1 / (1 - std::pow(settings.beta2, static_cast<double>(settings.step)))) {}
};

/// A matrix [rows, columns] at `offset` of the flat buffers of parameters.
struct matrix_place {
  index_type offset = 0, rows = 0, columns = 0;
  constexpr index_type size() const { return rows * columns; }
  constexpr index_type smaller() const { return rows < columns ? rows : columns; }
  constexpr index_type larger() const { return rows < columns ? columns : rows; }
  bool operator==(const matrix_place&) const = default;
};

/// One step of Muon, for matrices: the momentum is made nearly orthogonal, so that all its directions count alike.
/// The first moment is mean = momentum mean + (1 - momentum) g. U, made orthogonal by `newton_schulz`, starts as
/// (1 - momentum) g + momentum mean. Then weight = (1 - learning_rate weight_decay) weight -
/// learning_rate muon_scale U. With `normalised` it is NorMuon, where rows that were large lately count less:
/// v[row] = beta2 v[row] + (1 - beta2) mean of the row's U^2, the row is divided by sqrt(v[row]) + normuon_epsilon, then
/// U gets back the norm it had. A bias correction of v would change nothing.
struct muon_settings {
  double learning_rate = 0.02, momentum = 0.95, weight_decay = 0.1;
  bool normalised = false;
  double beta2 = 0.95;  ///< of the rows' mean squares
  int iterations = 5;   ///< of Newton and Schulz
  double max_norm = 1;  ///< the gradient is scaled down to this norm; 0: never
  bool operator==(const muon_settings&) const = default;

  /// Of the matrix products for one matrix, if every product is computed as a whole.
  constexpr double flops(const matrix_place& place) const {
    const double m = static_cast<double>(place.smaller()), n = static_cast<double>(place.larger());
    return iterations * (4 * m * m * n + 2 * m * m * m);
  }
};

/// An iteration of Newton and Schulz is X <- a X + b A X + c A A X with A = X X^T, where X has no more rows than
/// columns: it is transposed if it has. At first X is the matrix over its norm plus `epsilon`.
struct newton_schulz {
  static constexpr double a = 3.4445, b = -4.7750, c = 2.0315, epsilon = 1e-7;
};
/// NorMuon adds this to the root of a row's mean square.
inline constexpr double normuon_epsilon = 1e-10;
/// The factor of an orthogonal update of this shape.
inline double muon_scale(const matrix_place& place) {
  return place.rows > place.columns ? std::sqrt(static_cast<double>(place.rows) / static_cast<double>(place.columns))
                                    : 1.0;
}

/// Which elements dropout keeps: n, if word n % 64 / 16 of random block n / 64 * 16 + n % 16 is at least `threshold()`.
/// One block serves four elements; a vector of up to 16 neighbours takes one word from each of as many blocks.
struct dropout_mask {
  double rate = 0;  ///< how likely an element is dropped, in [0, 1)
  std::uint64_t seed = 0, stream = 0;
  constexpr std::uint32_t threshold() const { return static_cast<std::uint32_t>(rate * 0x1p32); }
  constexpr double scale() const { return 1 / (1 - rate); }  ///< of kept elements: the expectation stays the same
};

/// How a prediction's distance from an embedding is measured, and how much a row counts.
struct distance_settings {
  double squared = 1, smooth = 0,
         cosine = 0;            ///< weights of the squared error and smooth L1 (means over channels) and of 1 - cos
  double share = 1, decay = 0;  ///< a row whose earlier loss is x counts share * exp(-decay * x)
};

/// Of learned boundaries. Rows count as no shorter than `least_length`, and a share in [0, 1] is clamped to
/// [least_share, 1 - least_share].
inline constexpr double least_length = 1e-12, least_share = 1e-4;
/// Whether a position begins where its probability is `p`.
template <class S>
constexpr bool begins_position(S p) {
  return p >= S(0.5);
}
/// The loss that keeps learned boundaries about `wanted` positions of the finer level apart, of the part `begun` of
/// these positions at which one begins, and of their mean probability. H-Net, arXiv 2507.07955, equation 10.
struct boundary_ratio_terms {
  double wanted, begun;
  constexpr boundary_ratio_terms(double wanted_apart, double part) : wanted(wanted_apart), begun(part) {}
  constexpr double value(double mean) const {
    return wanted / (wanted - 1) * ((wanted - 1) * begun * mean + (1 - begun) * (1 - mean));
  }
  /// By the mean.
  constexpr double slope() const { return wanted / (wanted - 1) * (wanted * begun - 1); }
};

/// How the next token of a text is drawn: by the softmax of logits / temperature over the most likely tokens.
struct sampling_options {
  double temperature = 1;  ///< 0: always the most likely token
  double threshold = 0.9;  ///< keeps the max(1, (1 - threshold) V) most likely tokens; 0: all
  std::uint64_t seed = 0;
  /// How many of the most likely tokens may be drawn.
  constexpr index_type candidates(index_type vocabulary) const {
    const double kept = (1 - threshold) * static_cast<double>(vocabulary);
    if (temperature == 0 || !(kept >= 1)) return 1;
    return kept < static_cast<double>(vocabulary) ? static_cast<index_type>(kept) : vocabulary;
  }
  /// The random numbers of token `id` for text number `text` of a batch.
  static constexpr std::uint64_t stream(index_type text, token id) {
    return (static_cast<std::uint64_t>(text) << 32) + static_cast<std::uint64_t>(id);
  }
};

// clang-format off
/// Calls STRATA_OP(name, (arguments)) for every operation. `S` is the scalar, `b` the backend; const views are inputs.
///
/// memory
///   upload               from host [N] to device [N]
///   upload_tokens        the same for tokens
///   download, download_tokens   from device [N] to host [N]
///   fill                 y[N] = value
///   copy                 y[N] = x[N]
///   add                  y[N] += x[N]
///   mix                  y[N] = keep y[N] + (1 - keep) x[N]
/// embedding
///   embed                y[R,D] = or += table[V,D] at ids[R]; a negative id gives a row of zeros
///   embed_backward       dtable[V,D] += dy[R,D] at ids[R]; negative ids are skipped
/// matrix products
///   linear               y[R,N] = or += x[R,K] weight[N,K]^T + bias[N] (an empty bias is none)
///   linear_backward_input   dx[R,K] = or += dy[R,N] weight[N,K]
///   linear_backward_weight  dweight[N,K] += dy^T x, dbias[N] += sum of rows of dy
/// matrix products with weights that are only read
///   pack_bfloat16        packed[N] = x[N], rounded to nearest
///   pack_int8            packed[N,K] scale[N] is nearest to weight[N,K]; the scale is the smallest that holds a row
///                        in -127 .. 127, or not a number for a row that is not finite
///   linear_bfloat16      as linear, with packed[N,K]
///   linear_int8          as linear, with packed[N,K] scale[N]
/// activations
///   gelu, silu           y[N] = f(x[N]); gelu(x) = x/2 (1 + erf(x/sqrt 2)), silu(x) = x / (1 + exp(-x))
///   gelu_backward, silu_backward   dx[N] = dy[N] f'(x[N])
/// dropout
///   dropout              y[N] = or += mask.scale() x[N] where the mask keeps an element, else 0
/// norms, over the last axis of token_shift(x[B,n,D]); shift 0 is no token shift
///   rms_norm             y = x f gain, factor[R]: f = sqrt(D) / max(|x|, 1e-12)
///   rms_norm_backward    dx[B,n,D] +=, dgain[D] +=
///   layer_norm           y = (x - mean) f gain + bias, factor[R]: f = 1 / sqrt(variance + 1e-5), mean[R]
///   layer_norm_backward  dx[B,n,D] +=, dgain[D] +=, dbias[D] +=
/// learned token shift
///   add_previous         y[B,n,D] = x[B,n,D] + share[D] x at the position `shift` before, zeros before the first
///   add_previous_backward   dx[B,n,D] = dy + share[D] dy at the position `shift` after; dx may be x;
///                        dshare[D] += sum of dy times x at the position `shift` before
///   add_previous_step    y[B,D] = x[B,D] + share[D] previous[B,D]; then previous = x
/// attention
///   attention            y[R,HE], log_sum_exp[B,H,n] from qkv[R,3HE]; rotates queries and keys by
///                        table[4,n,E/2]: cos, sin for queries, for keys; an empty table rotates nothing
///   attention_backward   dqkv[R,3HE] = ..., from qkv, y, log_sum_exp and dy
///   attention_step       one new position of each of B sequences: writes its key and value to slot count % span of
///                        keys, values [B,span,HE] and attends to the last min(count + 1, span) of them;
///                        qkv is not rotated yet: table[2,span,E/2] (cos and sin) rotates by distance
/// attention across two sequences; a score is q . k / sqrt(E) + bias[H,span] at J - j. update::add includes the y and
/// log_sum_exp of earlier calls with other keys: at the end y is the softmax over the keys of all calls
///   cross_attention      y[B nq,HE], log_sum_exp[B,H,nq] from query[B nq,HE], key_value[B nk,2HE]
///   cross_attention_backward   dquery += , dkey_value +=, dbias += from the last y and log_sum_exp, and dy
///   cross_attention_step one query of each of B texts, query[B,HE], attends to the last min(count, span) of `count`
///                        positions; a ring of keys and values [B,span,2HE] holds position j at j % span
/// between levels
///   unfold               y[B,n,D c] = the c tokens of x[B,T,D] that end at `first` + i stride, zeros outside;
///                        channel-major, like the weights of a convolution
///   unfold_backward      dx[B,T,D] +=
///   window_mean          y[B,n,D] = mean of the tokens of x[B,T,D], up to c, that end at i stride
///   window_mean_backward dx[B,T,D] +=
///   repeat               y[B,T,columns at `column`] = x[B,n,D] at t / stride
///   repeat_backward      dx[B,n,D] += sum over the repeats
///   subsample            y[B,n,D] += x[B,T,columns at `column`] at t = i stride
///   subsample_backward   dx[B,T,columns at `column`] = dy[B,n,D] at t = i stride, else 0
///   take_columns         columns of y[B,m,..] = columns of x[B,n,..], as column_range says
///   take_columns_backward   dx[B,n,..] += sum over the copies, from dy[B,m,..]
///   depthwise            y[B,T,D] = or += weight[D] x[B,n,D] at t / stride + bias[D] (an empty bias is none)
///   depthwise_backward   dx[B,n,D] +=, dweight[D] +=, dbias[D] += (may be empty)
///   shift_step           y[B,D] = first half of x[B,D], second half of previous[B,D]; then previous = x
///   keep_last            ring[B,span,D] at j % span = position j, for the last `span` of the positions j = 0, 1, ..
///                        at i = sequence + j dilation of x[B,n,columns at `column`]
///   keep_row             ring[B,span,D] at position % span = x[B,D]
/// routing
///   route                selects from scores[B,n], in order in each of `dilation` interleaved sequences, those above 0
///                        while budget[dilation,B] is at least 1; a selection lowers it by 1. Before that, position j
///                        of a sequence (`first` is the j of the first position here) raises it by
///                        ceil(capacity (j+1)) - ceil(capacity j).
///                        rows[B,m] = indices of the selected among the B n scores, sequence by sequence, then -1;
///                        gate[B,m] = tanh(score), then 0
///   add_routed           y[N,D] at rows[R] += gate[R] x[R,D]; the rows are distinct, negative ones are skipped
///   add_routed_backward  dx[R,D] = gate[R] dy[N,D] at rows[R], which may be x; dscore[N] = (1 - gate^2) sum(x dy) at
///                        rows[R], else 0
/// learned boundaries
///   boundary_probability p[B,n] = (1 - cosine of query[B,n,D] and of key[B,n,D] at the position before) / 2; 1 at the first
///   boundary_probability_backward   dquery[B,n,D] = , dkey[B,n,D] =
///   smooth               y[B,n,D] = s x[B,n,D] + (1 - s) y at the position before, zeros before the first; s is
///                        share[B,n], clamped
///   smooth_backward      dx[B,n,D] = , which may be dy; dshare[B,n] = , 0 where it is clamped
///   confidence_backward  dp[R] += sum of y[R,D] dy[R,D] where a position begins, -= the sum elsewhere
///   boundary_ratio       loss[1] += boundary_ratio_terms of p[R] where ids[R] are not negative (may be empty: of all);
///                        dp[R] += (may be empty)
/// losses: loss[1] += the unweighted value; gradients are those of scale * loss
///   window_targets       targets[B,n,c], entry j = ids[B,T] at i stride + offset + j, or -1 outside
///   quantize             codes[B,m,books] of the first m positions of x[B,n,D]: per book the row of
///                        codebooks[books,C,K] with the largest inner product with (x - mean) projections[books,D,K],
///                        the first of equal ones
///   cross_entropy        mean over rows whose target is neither negative nor `ignore` of -log softmax(logits[R,V]);
///                        gradient[R,V] may be the logits themselves or empty
///   cosine_distance      1 - mean cos(prediction[B,i,:], embedding[B,i+1,:]); dprediction = ..., dembedding +=
///                        (both may be empty)
///   embedding_distance   mean over rows whose target[B m] is neither negative nor `ignore` of the distance times the
///                        row's weight; the distance is from prediction[B,i,D], i < m, to embedding[B,first + i,D];
///                        lost[B m] += distance; dprediction = ..., dembedding += (both may be empty, or the latter)
///   sigmoid_pairs        from rows first, first + 1, .. of the cosines of all pairs [M,N]: the sum, divided by N, of
///                        softplus(-label (exp(log_scale[1]) cosine + bias[1])), label 1 where first + row = column,
///                        else -1; cosines become their gradient, dlog_scale[1] +=, dbias[1] += (both may be empty:
///                        no gradient)
/// generation
///   sample               ids[B]: among the candidates, the most likely tokens of logits[B,V], the one with the largest
///                        (logit - largest logit) / temperature + noise; equal ones: the smaller token. Noise of text b
///                        and token v is gumbel(stream(b, v), counter) of the seed, in double. -1 for a row with a
///                        logit that is not a number. Backends differ by the last bit of a logarithm
/// optimizer
///   squared_norm         result[1] = sum of x[N]^2
///   adam                 one step if all measures[N] are finite, else nothing; the first is the squared norm of the
///                        gradient
///   adam_rows            the same for the rows[R] of weight and moments [V,D], from gradient[R,D], without weight
///                        decay; the rows are distinct, negative ones are skipped, and no other row changes
///   muon                 one step for each matrix if all measures[N] are finite, else nothing; the first is the
///                        squared norm of the whole gradient. NorMuon keeps its v[rows] at the start of the matrix's
///                        place in the second moment, which is not touched otherwise
#define STRATA_FOR_EACH_OPERATION(STRATA_OP)                                                                    \
  STRATA_OP(upload, (b, in1, out1)) STRATA_OP(upload_tokens, (b, ids1, tokens1))                               \
  STRATA_OP(download, (b, in1, out1)) STRATA_OP(download_tokens, (b, ids1, tokens1))                           \
  STRATA_OP(fill, (b, S{}, out1)) STRATA_OP(copy, (b, in1, out1)) STRATA_OP(add, (b, in1, out1))                \
  STRATA_OP(mix, (b, S{}, in1, out1))                                                                           \
  STRATA_OP(embed, (b, ids1, in2, out2, update::add)) STRATA_OP(embed_backward, (b, ids1, in2, out2))                        \
  STRATA_OP(linear, (b, in2, in2, in1, out2, update::add))                                                      \
  STRATA_OP(linear_backward_input, (b, in2, in2, out2, update::add))                                            \
  STRATA_OP(linear_backward_weight, (b, in2, in2, out2, out1))                                                  \
  STRATA_OP(pack_bfloat16, (b, in1, halves1)) STRATA_OP(pack_int8, (b, in2, bytes2, out1))                       \
  STRATA_OP(linear_bfloat16, (b, in2, halves2, in1, out2, update::add))                                         \
  STRATA_OP(linear_int8, (b, in2, bytes2, in1, in1, out2, update::add))                                         \
  STRATA_OP(gelu, (b, in1, out1)) STRATA_OP(gelu_backward, (b, in1, in1, out1))                                 \
  STRATA_OP(silu, (b, in1, out1)) STRATA_OP(silu_backward, (b, in1, in1, out1))                                 \
  STRATA_OP(dropout, (b, dropout_mask{}, in1, out1, update::add))                                               \
  STRATA_OP(rms_norm, (b, in3, in1, 0, out3, out1))                                                             \
  STRATA_OP(rms_norm_backward, (b, in3, in1, 0, in1, in3, out3, out1))                                          \
  STRATA_OP(layer_norm, (b, in3, in1, in1, 0, out3, out1, out1))                                                \
  STRATA_OP(layer_norm_backward, (b, in3, in1, 0, in1, in1, in3, out3, out1, out1))                             \
  STRATA_OP(add_previous, (b, in3, in1, 1, out3)) STRATA_OP(add_previous_backward, (b, in3, in1, 1, in3, out3, out1)) \
  STRATA_OP(add_previous_step, (b, in2, in1, out2, out2))                                                       \
  STRATA_OP(attention, (b, attention_shape{}, in3, in2, out2, out3))                                            \
  STRATA_OP(attention_backward, (b, attention_shape{}, in3, in2, in2, in3, in2, out2))                          \
  STRATA_OP(attention_step, (b, attention_shape{}, index_type{}, in2, in3, out3, out3, out2))                        \
  STRATA_OP(cross_attention, (b, cross_attention_shape{}, in2, in2, in2, out2, out3, update::add))              \
  STRATA_OP(cross_attention_backward, (b, cross_attention_shape{}, in2, in2, in2, in2, in3, in2, out2, out2, out2)) \
  STRATA_OP(cross_attention_step, (b, cross_attention_shape{}, index_type{}, in2, in3, in2, out2, out3, update::add)) \
  STRATA_OP(unfold, (b, in3, 1, 1, index_type{}, out3)) STRATA_OP(unfold_backward, (b, in3, 1, 1, index_type{}, out3))    \
  STRATA_OP(window_mean, (b, in3, 1, 1, out3)) STRATA_OP(window_mean_backward, (b, in3, 1, 1, out3))            \
  STRATA_OP(repeat, (b, in3, 1, index_type{}, out3)) STRATA_OP(repeat_backward, (b, in3, 1, index_type{}, out3))          \
  STRATA_OP(subsample, (b, in3, 1, index_type{}, out3)) STRATA_OP(subsample_backward, (b, in3, 1, index_type{}, out3))    \
  STRATA_OP(keep_last, (b, in3, 1, 1, index_type{}, out3)) STRATA_OP(keep_row, (b, in2, index_type{}, out3))              \
  STRATA_OP(take_columns, (b, in3, column_range{}, out3))                                                       \
  STRATA_OP(take_columns_backward, (b, in3, column_range{}, out3))                                              \
  STRATA_OP(depthwise, (b, in3, 1, in1, in1, out3, update::add))                                                \
  STRATA_OP(depthwise_backward, (b, in3, 1, in1, in3, out3, out1, out1))                                        \
  STRATA_OP(shift_step, (b, in2, out2, out2))                                                                   \
  STRATA_OP(route, (b, 1.0, 1, index_type{}, in2, out2, tokens2, out2))                                              \
  STRATA_OP(add_routed, (b, ids1, in1, in2, out2))                                                              \
  STRATA_OP(add_routed_backward, (b, ids1, in1, in2, in2, out2, out1))                                          \
  STRATA_OP(boundary_probability, (b, in3, in3, out2))                                                          \
  STRATA_OP(boundary_probability_backward, (b, in3, in3, in2, out3, out3))                                      \
  STRATA_OP(smooth, (b, in2, in3, out3)) STRATA_OP(smooth_backward, (b, in2, in3, in3, in3, out3, out2))        \
  STRATA_OP(confidence_backward, (b, in1, in2, in2, out1))                                                      \
  STRATA_OP(boundary_ratio, (b, in1, ids1, 2.0, S{}, out1, out1))                                                     \
  STRATA_OP(window_targets, (b, ids2, 1, index_type{}, targets3))                                                    \
  STRATA_OP(quantize, (b, in3, in3, in3, targets3))                                                             \
  STRATA_OP(cross_entropy, (b, in2, ids1, token{}, S{}, out1, out2))                                            \
  STRATA_OP(cosine_distance, (b, in3, in3, S{}, out1, out3, out3))                                              \
  STRATA_OP(embedding_distance,                                                                                 \
            (b, distance_settings{}, in3, in3, index_type{}, ids1, token{}, S{}, out1, out1, out3, out3))            \
  STRATA_OP(sigmoid_pairs, (b, out2, index_type{}, in1, in1, S{}, out1, out1, out1))                                 \
  STRATA_OP(sample, (b, sampling_options{}, std::uint64_t{}, in2, tokens1))                                     \
  STRATA_OP(squared_norm, (b, in1, out1)) STRATA_OP(adam, (b, adam_settings{}, in1, in1, out1, out1, out1))     \
  STRATA_OP(adam_rows, (b, adam_settings{}, ids1, in2, in1, out2, out2, out2))                                  \
  STRATA_OP(muon, (b, muon_settings{}, std::span<const matrix_place>{}, in1, in1, out1, out1, out1))
// clang-format on

/// Tells whether a backend has an operation: `operations<B>::has_linear`, and so on.
template <class Backend>
struct operations {
  using S = typename Backend::scalar;
  static inline view<const S, 1> in1;
  static inline view<const S, 2> in2;
  static inline view<const S, 3> in3;
  static inline view<S, 1> out1;
  static inline view<S, 2> out2;
  static inline view<S, 3> out3;
  static inline view<const token, 1> ids1;
  static inline view<const token, 2> ids2;
  static inline view<bfloat16, 1> halves1;
  static inline view<bfloat16, 2> halves2;
  static inline view<std::int8_t, 2> bytes2;
  static inline view<token, 1> tokens1;
  static inline view<token, 2> tokens2;
  static inline view<token, 3> targets3;
#define STRATA_OP(name, arguments) \
  static constexpr bool has_##name = requires(Backend & b) { name arguments; };
  STRATA_FOR_EACH_OPERATION(STRATA_OP)
#undef STRATA_OP
};

/// True, or a static_assert that says what the backend lacks.
template <class Backend>
constexpr bool check_backend() {
  constexpr bool has_scalar = requires { typename Backend::scalar; };
  static_assert(has_scalar, "strata: the backend lacks the type 'scalar'");
  constexpr bool has_storage = requires { typename Backend::template storage<token>; };
  static_assert(has_storage, "strata: the backend lacks the class template 'storage', which owns memory");
  return has_scalar && has_storage;
}
template <class Backend>
constexpr bool check_operations() {
#define STRATA_OP(name, arguments) \
  static_assert(operations<Backend>::has_##name, "strata: this backend lacks the operation '" #name "'");
  STRATA_FOR_EACH_OPERATION(STRATA_OP)
#undef STRATA_OP
#define STRATA_OP(name, arguments) &&operations<Backend>::has_##name
  return true STRATA_FOR_EACH_OPERATION(STRATA_OP);
#undef STRATA_OP
}

}  // namespace strata

// What every layer uses: the backend and its memories, the linear map for every weight format, and initialisations.
// Shapes: flat memories; B and T are the batch and tokens of this pass.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <strata/backend/backend.hpp>
#include <strata/backend/recording.hpp>
#include <strata/core/error.hpp>
#include <strata/core/tensor_table.hpp>

namespace strata::inline STRATA_ABI {

/// The rows of one n-gram table that a pass looks up.
template <class S>
struct ngram_lookup {
  view<const token, 1> rows;   ///< [B n] in the table; negative: none
  view<const token, 1> slots;  ///< [B n] the same rows, by their number in `gradient`
  view<S, 2> gradient;         ///< [slots, d] of the rows that were looked up since gradients were cleared
};

/// Where the texts of a pass are cut at one level, of R positions in all texts together. It shortens a level of R' rows.
struct level_cut {
  view<const token, 1> starts;        ///< [R], for each position the row of the finer level at which it begins
  view<const token, 1> newest;        ///< [R'], for each row of the finer level the newest position that it sees
  std::span<const index_type> texts;  ///< [B+1], the first position of each text, and R
  /// With `by_offset`: the rows of the finer level in the order of their offsets from the position that they see, the
  /// positions that these rows see, the place of each row in that order, all [R'], and the first place of each offset.
  view<const token, 1> order, newest_in_order, place;
  std::span<const index_type> offsets;
};

/// The rows of one text, or of all texts of a level where they have one length.
struct text_rows {
  index_type first = 0, texts = 1, positions = 0;

  template <class T>
  constexpr view<T, 2> of(const view<T, 2>& x) const {
    return x.slice(first, texts * positions);
  }
  template <class T>
  constexpr view<T, 3> of(const view<T, 3>& x) const {
    return {x.data + first * x.shape[2], {texts, positions, x.shape[2]}};
  }
};

/// One forward pass, or forward and backward pass. In inference `gradients` is empty. Backward recomputes norms,
/// activation functions and copies in the scratch memory: they are cheap beside matrix products. Their gradients
/// overwrite them.
template <class Backend>
struct pass {
  using scalar = typename Backend::scalar;
  Backend& backend;
  index_type batch = 0, tokens = 0;
  tensor_memory<const scalar> weights;
  tensor_memory<scalar> gradients;
  tensor_memory<scalar> memory;                        ///< activations that backward reads
  tensor_memory<scalar> scratch;                       ///< shared: each layer may overwrite it
  tensor_memory<token> targets;                        ///< rows that routing selects, and targets of the losses
  weight_format format = weight_format::float32;       ///< of the matrices in `weights`
  std::optional<std::uint64_t> dropout_seed = {};      ///< empty: no dropout
  std::span<const ngram_lookup<scalar>> lookups = {};  ///< one for each n-gram table
  std::span<const level_cut> cuts = {};                ///< one for each level
  /// At a level whose boundaries follow the text: its texts, as in `level_cut`. They lie one after another, as one text
  /// [1,R,d]. Else empty: the streams are [B,n,d].
  std::span<const index_type> texts = {};

  /// The same pass, for the blocks of level `l`.
  pass at_level(int l) const {
    pass own = *this;
    if (!cuts.empty()) own.texts = cuts[static_cast<std::size_t>(l)].texts;
    return own;
  }
};

/// Calls work(rows) for each text of x [B,n,d] whose rows depend on one another; for all at once where they have one length.
template <class Backend, class T, class Work>
void for_each_text(const pass<Backend>& p, const view<T, 3>& x, Work work) {
  if (p.texts.empty()) return work(text_rows{0, x.shape[0], x.shape[1]});
  for (std::size_t b = 0; b + 1 < p.texts.size(); ++b) work(text_rows{p.texts[b], 1, p.texts[b + 1] - p.texts[b]});
}

/// y[R,N] = or += x[R,K] weight[N,K]^T + bias[N]; the model may lack the bias.
template <class Backend, class S = typename Backend::scalar>
void linear(const pass<Backend>& p, input<S, 2> x, const tensor<2>& weight, const tensor<1>& bias, output<S, 2> y,
            update mode) {
  const view<const S, 1> added = p.weights.optional(bias);
  const packed_matrix<const S> packed{p.weights[weight].data, weight.shape};
  switch (p.format) {
    case weight_format::float32:
      return linear(p.backend, x, p.weights[weight], added, y, mode);
    case weight_format::bfloat16:
      return linear_bfloat16(p.backend, x, packed.halves(), added, y, mode);
    case weight_format::int8:
      return linear_int8(p.backend, x, packed.bytes(), packed.scale(), added, y, mode);
  }
}

/// Probability that training drops an element of token embeddings, attention outputs and feed-forward outputs.
struct dropout_rates {
  double embedding = 0, attention = 0, feed_forward = 0;
  constexpr bool any() const { return embedding > 0 || attention > 0 || feed_forward > 0; }
  constexpr bool operator==(const dropout_rates&) const = default;
};
inline void check(const dropout_rates& rates) {
  const auto share_below_1 = [](const char* name, double rate) {
    // The operations compute with floats.
    require(rate >= 0 && static_cast<float>(rate) < 1, "dropout.", name, " must be in [0, 1), not ", rate);
  };
  share_below_1("embedding", rates.embedding);
  share_below_1("attention", rates.attention);
  share_below_1("feed_forward", rates.feed_forward);
}

/// One use of dropout in the model: its rate, and its own stream of random numbers.
struct dropout_layer {
  double rate = 0;
  std::uint64_t stream = 0;
};

/// Plans offsets and remembers the largest size that any use of the scratch memory needs.
struct activation_plan {
  memory_plan memory, targets;
  index_type scratch_size = 0;
  bool training = true;
  dropout_rates dropout = {};
  std::uint64_t dropouts = 0;

  /// Every call makes a new stream, numbered in the order of the calls.
  constexpr dropout_layer add_dropout(double rate) { return {rate, dropouts++}; }
  /// Ends one use of the scratch memory.
  constexpr void scratch_used(const memory_plan& scratch) {
    if (scratch.size() > scratch_size) scratch_size = scratch.size();
  }
};

/// PyTorch's default initialisation of a linear map or convolution with `fan_in` inputs.
constexpr initialisation linear_initialisation(index_type fan_in) {
  double root = static_cast<double>(fan_in);  // Newton's iteration: std::sqrt is not constexpr
  for (int i = 0; i < 64; ++i) root = 0.5 * (root + static_cast<double>(fan_in) / root);
  return {initialisation::kind::uniform, 1 / root};
}
inline constexpr initialisation ones{initialisation::kind::constant, 1};
inline constexpr initialisation zeros{initialisation::kind::constant, 0};

}  // namespace strata

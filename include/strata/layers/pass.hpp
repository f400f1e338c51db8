// What every layer works on: the backend and the memories its places refer to; how a layer multiplies with its weights,
// whatever their format; and the names of parameters' starts.
// Shapes: flat memories; batch B and tokens T are those of this pass.
#pragma once

#include <cstdint>
#include <optional>

#include <strata/backend/backend.hpp>
#include <strata/backend/recording.hpp>
#include <strata/core/error.hpp>
#include <strata/core/tensor_table.hpp>

namespace strata::inline STRATA_ABI {

/// One forward pass, or forward and backward. In inference `gradients` is empty. Backward makes norms, activation functions
/// and copies anew in the scratch memory: they cost little beside products, and their gradients take their places.
template <class Backend>
struct pass {
  using scalar = typename Backend::scalar;
  Backend& backend;
  index_type batch = 0, tokens = 0;
  tensor_memory<const scalar> weights;
  tensor_memory<scalar> gradients;
  tensor_memory<scalar> memory;                    ///< activations that backward reads
  tensor_memory<scalar> scratch;                   ///< shared by all layers, free after each
  tensor_memory<token> targets;                    ///< rows that routing selects, and what the losses predict
  weight_format format = weight_format::float32;   ///< of the matrices in `weights`
  std::optional<std::uint64_t> dropout_seed = {};  ///< none: no dropout
};

/// y[R,N] = or += x[R,K] weight[N,K]^T + bias[N]; the bias may be one that the configuration does not have.
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

/// How likely training drops an element of the tokens' embeddings, of the output of attention, of the output of feed-forward.
struct dropout_rates {
  double embedding = 0, attention = 0, feed_forward = 0;
  constexpr bool any() const { return embedding > 0 || attention > 0 || feed_forward > 0; }
  constexpr bool operator==(const dropout_rates&) const = default;
};
inline void check(const dropout_rates& rates) {
  const auto share_below_1 = [](const char* name, double rate) {
    require(rate >= 0 && rate < 1, "dropout.", name, " must be in [0, 1), not ", rate);
  };
  share_below_1("embedding", rates.embedding);
  share_below_1("attention", rates.attention);
  share_below_1("feed_forward", rates.feed_forward);
}

/// Where the model has dropout: how likely an element is dropped, and the stream of random numbers of this place alone.
struct dropout_layer {
  double rate = 0;
  std::uint64_t stream = 0;
};

/// Plans places and remembers the largest size that any one use of the scratch memory needs.
struct activation_plan {
  memory_plan memory, targets;
  index_type scratch_size = 0;
  bool training = true;
  dropout_rates dropout = {};
  std::uint64_t dropouts = 0;

  /// Every place has a stream of its own, in the order in which they are planned.
  constexpr dropout_layer add_dropout(double rate) { return {rate, dropouts++}; }
  /// Closes one use of the scratch memory.
  constexpr void scratch_used(const memory_plan& scratch) {
    if (scratch.size() > scratch_size) scratch_size = scratch.size();
  }
};

/// PyTorch's default start of a linear map or convolution with `fan_in` inputs.
constexpr initialisation linear_initialisation(index_type fan_in) {
  double root = static_cast<double>(fan_in);  // Newton's iteration: std::sqrt is not constexpr
  for (int i = 0; i < 64; ++i) root = 0.5 * (root + static_cast<double>(fan_in) / root);
  return {initialisation::kind::uniform, 1 / root};
}
inline constexpr initialisation ones{initialisation::kind::constant, 1};
inline constexpr initialisation zeros{initialisation::kind::constant, 0};

}  // namespace strata

// What a model costs, known before it runs: parameters, FLOPs, bytes.
// A multiplication and an addition are two FLOPs; only matrix products and attention count, as is usual.
// The tests check every number against a real run.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <strata/config/check_parts.hpp>
#include <strata/config/facts.hpp>
#include <strata/model/activations.hpp>
#include <strata/model/cache.hpp>
#include <strata/model/parameters.hpp>

namespace strata::inline STRATA_ABI {

/// Cost of the model that `D` describes. It learns from `Learns`: a list of losses, or `inference`.
template <const auto& D, class Learns = default_losses, bool Fits = check_network<D, Learns>>
struct cost {
  using F = facts<D>;
  using losses_type = losses_of<Learns>;

 private:
  /// The width of what a level compresses.
  static constexpr int source_dim(const level_facts& level) {
    return level.from >= 0 ? F::levels[level.from].dim : F::embedding_dim;
  }
  /// Tokens between two positions of what a level compresses.
  static constexpr int stride_of_source(const level_facts& level) {
    return level.from >= 0 ? F::levels[level.from].stride : 1;
  }
  static constexpr double compress_flops(const level_facts& level) {
    const double dim = source_dim(level);
    if (level.pads) return 0;
    if (level.ragged && level.from >= 0) return 2 * dim * level.dim;
    if (!level.compressed()) return level.dim == source_dim(level) ? 0 : 2 * dim * level.dim;
    if (level.linear_compression) return 2 * dim * level.shortens * level.dim;
    if (level.pools)
      return attention_resampling_query_flops(shape_of_attention_pooling(level, 1, 1),
                                              widths_of_attention_pooling(level, source_dim(level)));
    return 2 * (dim * level.shortens * 4 * dim + 4 * dim * level.dim);
  }
  /// FLOPs of one position of the source for the keys and values of attention pooling.
  static constexpr double pooling_flops(const level_facts& level) {
    return level.pools ? attention_resampling_source_flops(shape_of_attention_pooling(level, 1, 1),
                                                           widths_of_attention_pooling(level, source_dim(level)))
                       : 0;
  }
  static constexpr double block_products(const level_facts& level) {
    const double attention = level.span > 0 ? 8.0 * level.attention_dim() * level.dim : 0;
    const double score = level.routed() ? 2.0 * level.dim : 0;
    return attention + 4.0 * level.dim * level.hidden + score;
  }
  /// FLOPs of one row in the heavy branch of a routed feed-forward.
  static constexpr double heavy_flops(const level_facts& level) { return 4.0 * level.dim * level.heavy_hidden; }
  static constexpr double head_flops() { return 2.0 * F::logits_dim * F::vocabulary; }

  /// Pairs of a query and a key that it sees, in all interleaved sequences of one text.
  static constexpr double attended_pairs(const level_facts& level, index_type positions) {
    double pairs = 0;
    for (index_type sequence = 0; sequence < level.dilation; ++sequence) {
      const index_type count = level.sequence_length(positions, sequence);
      const double span = static_cast<double>(level.span), whole = static_cast<double>(count);
      pairs += whole <= span ? whole * (whole + 1) / 2 : span * (span + 1) / 2 + (whole - span) * span;
    }
    return pairs;
  }

  static constexpr void require_shape(index_type batch, index_type tokens) {
    if (batch <= 0 || tokens <= 0 || batch > most_tokens / tokens)
      fail("a cost needs a positive batch and length and at most ", most_tokens, " tokens, but was asked for [", batch,
           ", ", tokens, "]");
  }
  /// `bytes` and those of `count` elements.
  static constexpr std::size_t added(std::size_t bytes, index_type count, std::size_t element) {
    if (element > 0 && static_cast<std::size_t>(count) > (PTRDIFF_MAX - bytes) / element)
      fail(bytes, " bytes and ", count, " elements of ", element, " bytes are more than a memory can hold");
    return bytes + static_cast<std::size_t>(count) * element;
  }

 public:
  /// Numbers that training learns.
  static constexpr index_type parameters = strata::parameters<D, Learns>::count;
  /// Of these, the numbers in n-gram tables: a token adds one row of each and multiplies none.
  static constexpr index_type table_parameters = strata::parameters<D, Learns>::in_tables;

  /// FLOPs of the forward pass over `batch` texts of `tokens` tokens, without the heads of the losses. `merge` is as in
  /// `forward_options`.
  static constexpr double forward_flops(index_type batch, index_type tokens, bool merge = true) {
    return forward_flops(batch, tokens, merge, F::positions(tokens));
  }
  /// The same with so many positions at each level. Without them, levels whose boundaries follow the text count with their
  /// mean positions, as their strides say.
  static constexpr double forward_flops(index_type batch, index_type tokens, bool merge,
                                        const std::array<index_type, F::level_count>& positions) {
    require_shape(batch, tokens);
    double flops = 0;
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      const double rows = static_cast<double>(batch * positions[l]);
      const double heavy_rows = static_cast<double>(batch * routed_rows(level, positions[l]));
      const double pairs = static_cast<double>(batch) * attended_pairs(level, positions[l]);
      const index_type source = level.from >= 0 ? positions[level.from] : tokens;
      flops += rows * compress_flops(level) + static_cast<double>(batch * source) * pooling_flops(level) +
               (level.pools ? shape_of_attention_pooling(level, batch, source).flops() : 0) +
               F::layers_of(l) * (rows * block_products(level) + heavy_rows * heavy_flops(level) +
                                  4.0 * level.attention_dim() * pairs);
    }
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      if (level.learned_boundaries)
        flops += static_cast<double>(batch * positions[level.from]) * boundary_flops(source_dim(level));
      if (level.from < 0 || !merge) continue;
      flops +=
          static_cast<double>(batch) * upsample_flops(level, source_dim(level), positions[level.from], positions[l]);
    }
    if (F::merges && merge) flops += F::depth * chosen_merge<D>.forward_flops(batch, tokens);
    return flops + static_cast<double>(batch * tokens) * head_flops();
  }

  /// FLOPs of one training step with all losses. The backward pass costs twice the forward pass, except in the losses.
  static constexpr double training_flops(index_type batch, index_type tokens, bool merge = true,
                                         const losses_type& losses = {}) {
    return training_flops(batch, tokens, merge, losses, F::positions(tokens));
  }
  static constexpr double training_flops(index_type batch, index_type tokens, bool merge, const losses_type& losses,
                                         const std::array<index_type, F::level_count>& positions) {
    double flops = 3 * forward_flops(batch, tokens, merge, positions);
    losses.of_model(F::model).for_each([&](const auto& loss) { flops += loss.head_flops(batch, tokens); });
    return flops;
  }
  static constexpr double training_flops_per_token =
      training_flops(1, F::max_length) / static_cast<double>(F::max_length);

  /// FLOPs of one generated token of one text, on average. All rings are full, and routing uses its whole budget.
  static constexpr double inference_flops_per_token = [] {
    double flops = head_flops() + (F::merges ? F::depth * chosen_merge<D>.step_flops() : 0);
    for (const level_facts& level : F::levels) {
      if (level.learned_boundaries) flops += boundary_flops(source_dim(level)) / stride_of_source(level);
      if (level.from >= 0) flops += upsample_step_flops(level, source_dim(level)) / stride_of_source(level);
    }
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      flops += pooling_flops(level) / stride_of_source(level) +
               (compress_flops(level) + (level.pools ? 4.0 * level.attention_dim() * level.shortens : 0) +
                F::layers_of(l) * (block_products(level) + level.capacity * heavy_flops(level) +
                                   4.0 * level.attention_dim() * static_cast<double>(level.span))) /
                   level.stride;
    }
    return flops;
  }();

  /// Bytes of activations, scratch memory and token ids for this batch and length, and of the gradients of n-gram rows.
  static constexpr std::size_t activation_bytes(index_type batch, index_type tokens,
                                                activation_use use = activation_use::training,
                                                std::size_t scalar_bytes = sizeof(float),
                                                const losses_type& losses = {}, dropout_rates dropout = {}) {
    require_shape(batch, tokens);
    const auto plan = plan_activations<D>(losses.of_model(F::model), batch, tokens, use, dropout);
    std::size_t bytes = added(0, plan.memory_size, scalar_bytes);
    bytes = added(bytes, plan.scratch_size, scalar_bytes);
    bytes = added(bytes, plan.targets_size, sizeof(token));
    bytes = added(bytes, 2 * batch * tokens, sizeof(token));  // inputs and labels
    const bool training = use != activation_use::inference;
    bytes = added(bytes, (training ? 2 : 1) * F::ngram_places(batch, tokens), sizeof(token));
    if (!training) return bytes;
    memory_plan gradients;
    for (const ngram_facts& table : F::ngrams) {
      const index_type slots = table.slots(batch, tokens);
      gradients.add<2>({slots, table.dim});
      bytes = added(bytes, slots, sizeof(token));
    }
    return added(bytes, gradients.size(), scalar_bytes);
  }

  /// Bytes of the cache for incremental generation of `batch` texts, at any length.
  static constexpr std::size_t cache_bytes(index_type batch, std::size_t scalar_bytes = sizeof(float)) {
    require_shape(batch, 1);
    return added(0, plan_cache<D>(batch).size, scalar_bytes);
  }
};

/// Replaces the cost of a model whose parts do not fit together, so that the broken rule is the only error.
template <const auto& D, class Learns>
struct cost<D, Learns, false> : cost<detail::small_model, losses<>, true> {};

}  // namespace strata

// What a model description may choose about single losses.
// Shapes: none.
// Source: docs/model.md; the defaults of `next_latent` are those of the reference package.
#pragma once

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// What the codes are made from that the loss `prophet_quantized` predicts: a level's compressed tokens, before their norm, or
/// its final embeddings.
enum class quantized_source { compressed_tokens, final_embeddings };

/// The quantiser of the loss `prophet_quantized`.
struct prophet_quantized_options {
  int books = 4;      ///< codes that each position has, one of every book
  int codes = 1024;   ///< in a book
  int code_dim = 16;  ///< width of a code
  quantized_source source = quantized_source::compressed_tokens;
};

/// Of the loss `sigmoid_contrastive`.
struct sigmoid_contrastive_options {
  bool detach_targets = false;  ///< the embeddings that are to be recognised learn nothing from it
};

/// How `next_latent` measures a prediction: means over channels, the last one 0.1 squared + 0.9 (1 - cos).
enum class latent_distance { squared, smooth_l1, squared_and_cosine };

/// Of the loss `next_latent`.
struct next_latent_options {
  latent_distance distance = latent_distance::squared_and_cosine;
  int rollouts = 1;              ///< steps from every embedding, each from what the one before predicts
  double rollout_decay = 1;      ///< a step counts exp(-rollout_decay x) where those before it are x away; 0: all alike
  bool detach_summaries = true;  ///< the token embeddings that a step is told about learn nothing from it
  bool detach_targets = true;    ///< nor do the embeddings that it predicts
  constexpr bool operator==(const next_latent_options&) const = default;
};

}  // namespace strata

// A model description as one line of text, for checkpoints and messages.
// Shapes: none.
// Source: own.
#pragma once

#include <string>

#include <strata/config/facts.hpp>
#include <strata/core/error.hpp>
#include <strata/merges/merges.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Facts>
std::string receiving_levels() {
  if (!Facts::merges) return "none";
  std::string indices;
  int count = 0;
  for (int l = 0; l < Facts::level_count; ++l)
    if (Facts::receives(l)) {
      indices += to_text(" ", l);
      ++count;
    }
  if (count == Facts::level_count) return "all";
  return count == 1 && Facts::predicting.receives ? "predicting" : "levels" + indices;
}

}  // namespace detail

/// Everything that changes what a model computes, the sizes of its tensors included.
template <class Config>
std::string describe() {
  using F = facts<Config>;
  std::string text = to_text("vocabulary ", F::vocabulary, ", max_length ", F::max_length, ", depth ", F::depth,
                             ", predicting level ", F::predicting_level, ", merge into ", detail::receiving_levels<F>(),
                             ", logits from ", F::logits_from_all ? "all" : "predicting");
  if (F::merges && Config::merge != concatenate_merge::name)
    text += to_text(", merge ", Config::merge, chosen_merge<Config>.options());
  for (const level_facts& level : F::levels) {
    text += to_text("; compression ", level.compression, ", stride ", level.stride, ", dim ", level.dim, ", heads ",
                    level.heads, "x", level.head_dim, ", window ");
    text += level.full ? "full" : std::to_string(level.span == 0 ? 0 : level.span - 1);
    text += to_text(", hidden ", level.hidden);
    if (level.pools) text += ", compressor attention";
    if (level.routed()) text += to_text(", routed hidden ", level.heavy_hidden, ", capacity ", level.capacity);
  }
  if (F::names_loss("prophet_quantized")) {
    constexpr prophet_quantized_options options = Config::prophet_quantized;
    text += to_text("; prophet_quantized: ", options.books, " books of ", options.codes, " codes of width ",
                    options.code_dim, ", of ",
                    options.source == quantized_source::final_embeddings ? "final embeddings" : "compressed tokens");
  }
  if (F::hourglass)
    text += to_text("; hourglass of ", Config::fine_layers.before, " + ", Config::fine_layers.after, " fine layers",
                    F::upsamples_by_attention ? ", lengthened by attention" : "");
  if (Config::share_attention) text += "; attention weights shared";
  if (Config::embedding_dropout > 0 || Config::attention_dropout > 0 || Config::feed_forward_dropout > 0)
    text += to_text("; dropout of embeddings ", Config::embedding_dropout, ", attention ", Config::attention_dropout,
                    ", feed-forward ", Config::feed_forward_dropout);
  constexpr next_latent_options latent = Config::next_latent;
  if (latent != next_latent_options{}) {
    const char* const distances[] = {"squared", "smooth_l1", "squared_and_cosine"};
    const char* const learn[] = {"learn", "detached"};
    text += to_text("; next_latent by ", distances[static_cast<int>(latent.distance)], ", rollouts ", latent.rollouts,
                    ", decay ", latent.rollout_decay, ", summaries ", learn[latent.detach_summaries], ", targets ",
                    learn[latent.detach_targets]);
  }
  if (Config::sigmoid_contrastive.detach_targets) text += "; sigmoid_contrastive with detached targets";
  return text;
}

}  // namespace strata

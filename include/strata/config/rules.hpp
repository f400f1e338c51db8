// The rules a model description must keep, each one sentence of the compiler when it is broken.
// Shapes: none.
// Source: docs/model.md; every rule has a program in tests/compile_fail/ that must not compile.
#pragma once

#include <iterator>
#include <limits>
#include <type_traits>

#include <strata/config/level.hpp>
#include <strata/config/model_defaults.hpp>

namespace strata::inline STRATA_ABI {
namespace rules {

/// Beyond this distance the xPos factor of the narrowest frequency leaves the range of a float.
inline constexpr int longest_full_attention = 65536;

constexpr bool power_of_two(int number) { return number > 0 && (number & (number - 1)) == 0; }

template <class Config>
constexpr bool quantizer_has_codes() {
  constexpr prophet_quantized_options options = Config::prophet_quantized;
  return options.books >= 1 && options.codes >= 2 && options.code_dim >= 1;
}

/// Whether `rule` holds for level `l`; levels that do not exist keep every rule.
template <class Config, class Rule>
constexpr bool holds(int l, Rule rule) {
  return l >= static_cast<int>(std::size(Config::levels)) || rule(Config::levels[l]);
}
template <class Config>
constexpr int predicting() {
  if (Config::predicting_level >= 0) return Config::predicting_level;
  int best = 0;
  for (int l = 1; l < static_cast<int>(std::size(Config::levels)); ++l)
    if (Config::levels[l].compression < Config::levels[best].compression) best = l;
  return best;
}
template <class Config>
constexpr bool compressions_differ() {
  const int count = static_cast<int>(std::size(Config::levels));
  for (int l = 0; l < count; ++l)
    for (int other = 0; other < l; ++other)
      if (Config::levels[l].compression == Config::levels[other].compression) return false;
  return true;
}

template <class Config>
constexpr bool can_share_attention() {
  const int count = static_cast<int>(std::size(Config::levels));
  for (int l = 0; l < count; ++l)
    for (int other = 0; other < l; ++other)
      if (Config::levels[l].can_share_attention(Config::levels[other])) return true;
  return false;
}
template <class Config>
constexpr bool has_levels_of_hourglass() {
  if (!Config::fine_layers.any()) return true;
  if (std::size(Config::levels) != 2) return false;
  const level& coarse = Config::levels[Config::levels[0].compression == 1 ? 1 : 0];
  return Config::levels[0].compression * Config::levels[1].compression == coarse.compression &&
         coarse.stride == coarse.compression;
}
template <class Config>
constexpr bool has_layers_of_hourglass() {
  constexpr hourglass_layers fine = Config::fine_layers;
  return !fine.any() || (fine.before >= 1 && fine.after >= 1 && fine.before < Config::depth - fine.after);
}
constexpr bool share_below_1(double rate) { return rate >= 0 && rate < 1; }
/// Whether every entry of `receiving_levels` is the index of a level or a name, and names stand where they may.
template <class Config>
constexpr bool receiving_levels_exist() {
  for (int l : Config::receiving_levels) {
    if (l == every_level && std::size(Config::receiving_levels) == 1) continue;
    if (l != the_predicting_level && (l < 0 || l >= static_cast<int>(std::size(Config::levels)))) return false;
  }
  return true;
}
template <class Config>
constexpr bool receiving_levels_differ() {
  bool seen[most_levels]{};
  for (int chosen : Config::receiving_levels) {
    const int l = chosen == the_predicting_level ? predicting<Config>() : chosen;
    if (l < 0 || l >= most_levels) continue;  // another rule's
    if (seen[l]) return false;
    seen[l] = true;
  }
  return true;
}

// A sentence must be a literal, so the level's number is written out eight times. bool_constant, because
// clang prints the condition, and a lambda in it over many lines.
#define STRATA_LEVEL_RULE(rule, sentence)                                                         \
  static_assert(std::bool_constant<holds<Config>(0, rule)>::value, "strata: level 0: " sentence); \
  static_assert(std::bool_constant<holds<Config>(1, rule)>::value, "strata: level 1: " sentence); \
  static_assert(std::bool_constant<holds<Config>(2, rule)>::value, "strata: level 2: " sentence); \
  static_assert(std::bool_constant<holds<Config>(3, rule)>::value, "strata: level 3: " sentence); \
  static_assert(std::bool_constant<holds<Config>(4, rule)>::value, "strata: level 4: " sentence); \
  static_assert(std::bool_constant<holds<Config>(5, rule)>::value, "strata: level 5: " sentence); \
  static_assert(std::bool_constant<holds<Config>(6, rule)>::value, "strata: level 6: " sentence); \
  static_assert(std::bool_constant<holds<Config>(7, rule)>::value, "strata: level 7: " sentence)

/// Instantiating this checks every rule that concerns one level alone.
template <class Config>
struct check_levels {
  static_assert(std::size(Config::levels) <= most_levels, "strata: a model has at most 8 levels");
  static_assert(Config::max_length >= 1, "strata: max_length must be positive");
  STRATA_LEVEL_RULE([](level l) { return power_of_two(l.compression); }, "compression must be a power of two");
  STRATA_LEVEL_RULE([](level l) { return power_of_two(l.stride); }, "stride must be a power of two");
  STRATA_LEVEL_RULE([](level l) { return l.stride <= l.compression; }, "stride must not exceed compression");
  STRATA_LEVEL_RULE([](level l) { return l.dim > 0; }, "dim must be positive");
  STRATA_LEVEL_RULE([](level l) { return l.heads > 0; }, "heads must be positive");
  STRATA_LEVEL_RULE([](level l) { return l.head_dim > 0 && l.head_dim % 2 == 0; },
                    "head_dim must be positive and even (rotary embeddings turn pairs)");
  STRATA_LEVEL_RULE([](level l) { return l.window >= automatic_window; },
                    "window must be 0, positive, full_attention or automatic_window");
  STRATA_LEVEL_RULE([](level l) { return l.feed_forward_multiple > 0; }, "feed_forward_multiple must be positive");
  STRATA_LEVEL_RULE([](level l) { return l.routing.capacity >= 0 && l.routing.capacity <= 1; },
                    "routing.capacity must be 0 (no routing) or a part of the positions, up to 1");
  STRATA_LEVEL_RULE([](level l) { return l.routing.light_multiple > 0; }, "routing.light_multiple must be positive");
  STRATA_LEVEL_RULE([](level l) { return l.compression > 1 || l.compressor == compressor_kind::convolution; },
                    "compressor must be left out where compression is 1: there is nothing to attend to");
  STRATA_LEVEL_RULE([](level l) { return l.compression <= Config::max_length; },
                    "compression must not exceed max_length");
  STRATA_LEVEL_RULE(
      [](level l) {
        return !l.attends_to_all(Config::max_length) || l.reach(Config::max_length) <= longest_full_attention;
      },
      "full attention reaches at most 65536 positions (xPos would overflow)");
  // One roll-out is the default, and a level of one position may be: it predicts nothing.
  STRATA_LEVEL_RULE(
      [](level l) {
        return Config::next_latent.rollouts <= 1 || Config::next_latent.rollouts <= (Config::max_length - 1) / l.stride;
      },
      "next_latent.rollouts must be fewer than the positions that max_length tokens make");
  static constexpr bool passed = true;
};
#undef STRATA_LEVEL_RULE

/// Instantiating this checks the rules between levels; it relies on those of single levels.
template <class Config>
struct check_model {
  static_assert(Config::vocabulary >= 2, "strata: vocabulary must be at least 2");
  static_assert(Config::depth >= 1, "strata: depth must be positive");
  static_assert(Config::ignore_index >= ignore_nothing && Config::ignore_index < Config::vocabulary,
                "strata: ignore_index must be a token of the vocabulary or ignore_nothing");
  static_assert(quantizer_has_codes<Config>(),
                "strata: prophet_quantized needs at least 1 book of 2 codes of code_dim 1");
  static_assert(share_below_1(Config::embedding_dropout), "strata: embedding_dropout must be in [0, 1)");
  static_assert(share_below_1(Config::attention_dropout), "strata: attention_dropout must be in [0, 1)");
  static_assert(share_below_1(Config::feed_forward_dropout), "strata: feed_forward_dropout must be in [0, 1)");
  static_assert(Config::next_latent.rollouts >= 1, "strata: next_latent.rollouts must be positive");
  static_assert(Config::next_latent.rollout_decay >= 0 &&
                    Config::next_latent.rollout_decay <= std::numeric_limits<float>::max(),
                "strata: next_latent.rollout_decay must be finite and not negative");
  static_assert(compressions_differ<Config>(), "strata: two levels have the same compression");
  static constexpr bool levels_of_hourglass = has_levels_of_hourglass<Config>();
  static_assert(levels_of_hourglass,
                "strata: an hourglass has two levels, one without compression and one whose stride is its compression");
  static constexpr bool layers_of_hourglass = has_layers_of_hourglass<Config>();
  static_assert(layers_of_hourglass,
                "strata: an hourglass has at least one layer before, one after and one between them (depth is all)");
  static constexpr bool hourglass_without_merge =
      !Config::fine_layers.any() ||
      (Config::merge == model_defaults::merge && std::size(Config::receiving_levels) == 1 &&
       Config::receiving_levels[0] == the_predicting_level);
  static_assert(hourglass_without_merge,
                "strata: an hourglass has no merges, so merge and receiving_levels must stay as they are");
  static constexpr bool hourglass_without_sharing = !Config::fine_layers.any() || !Config::share_attention;
  static_assert(hourglass_without_sharing,
                "strata: the levels of an hourglass run in different layers and cannot share attention");
  static constexpr bool shares_attention_if_asked = !Config::share_attention || can_share_attention<Config>();
  static_assert(shares_attention_if_asked,
                "strata: share_attention needs two levels with attention and equal dim, heads and head_dim");
  static_assert(Config::predicting_level >= least_compressed &&
                    Config::predicting_level < static_cast<int>(std::size(Config::levels)),
                "strata: predicting_level must be the index of a level or least_compressed");
  static_assert(receiving_levels_exist<Config>(),
                "strata: receiving_levels must be indices of levels or the_predicting_level, or every_level alone");
  static_assert(receiving_levels_differ<Config>(), "strata: receiving_levels names a level twice");
  static constexpr bool passed = true;
};

/// Instantiating this checks the rules about the level that predicts.
template <class Config>
struct check_predicting_level {
  static_assert(Config::levels[predicting<Config>()].stride == 1,
                "strata: the predicting level must have stride 1, it gives a prediction at every token");
  static constexpr bool passed = true;
};

/// True, or a static_assert that names the level and the rule. In stages, so that the first broken rule is
/// the only message about it.
template <class Config>
constexpr bool check() {
  if constexpr (check_levels<Config>::passed)
    if constexpr (check_model<Config>::passed) return check_predicting_level<Config>::passed;
  return false;
}

}  // namespace rules
}  // namespace strata

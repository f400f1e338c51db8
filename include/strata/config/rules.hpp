// The rules a model description must keep, each one sentence of the compiler when it is broken.
// Shapes: none.
// Source: docs/model.md; every rule has a program in tests/compile_fail/ that must not compile.
#pragma once

#include <type_traits>

#include <strata/config/description.hpp>
#include <strata/config/level.hpp>

namespace strata::inline STRATA_ABI {
namespace rules {

/// Beyond this distance the xPos factor of the narrowest frequency leaves the range of a float.
inline constexpr int longest_full_attention = 65536;

constexpr bool power_of_two(int number) { return number > 0 && (number & (number - 1)) == 0; }

/// Whether `rule` holds for level `l`; levels that do not exist keep every rule.
template <const auto& D, class Rule>
constexpr bool holds(int l, Rule rule) {
  return l >= D.levels.size() || rule(D.levels[l]);
}
template <const auto& D>
constexpr int predicting() {
  if (D.predicting_level >= 0) return D.predicting_level;
  int best = 0;
  for (int l = 1; l < D.levels.size(); ++l)
    if (D.levels[l].compression < D.levels[best].compression) best = l;
  return best;
}
template <const auto& D>
constexpr bool compressions_differ() {
  const int count = D.levels.size();
  for (int l = 0; l < count; ++l)
    for (int other = 0; other < l; ++other)
      if (D.levels[l].compression == D.levels[other].compression) return false;
  return true;
}

template <const auto& D>
constexpr bool can_share_attention() {
  const int count = D.levels.size();
  for (int l = 0; l < count; ++l)
    for (int other = 0; other < l; ++other)
      if (D.levels[l].can_share_attention(D.levels[other])) return true;
  return false;
}
template <const auto& D>
constexpr bool has_levels_of_hourglass() {
  if (!D.fine_layers.any()) return true;
  if (D.levels.size() != 2) return false;
  const level& coarse = D.levels[D.levels[0].compression == 1 ? 1 : 0];
  return D.levels[0].compression * D.levels[1].compression == coarse.compression && coarse.stride == coarse.compression;
}
template <const auto& D>
constexpr bool has_layers_of_hourglass() {
  constexpr hourglass_layers fine = D.fine_layers;
  return !fine.any() || (fine.before >= 1 && fine.after >= 1 && fine.before < D.depth - fine.after);
}
/// Whether every entry of `receiving_levels` is the index of a level or a name, and names stand where they may.
template <const auto& D>
constexpr bool receiving_levels_exist() {
  for (int l : D.receiving_levels) {
    if (l == every_level && D.receiving_levels.size() == 1) continue;
    if (l != the_predicting_level && (l < 0 || l >= D.levels.size())) return false;
  }
  return true;
}
template <const auto& D>
constexpr bool receiving_levels_differ() {
  bool seen[most_levels]{};
  for (int chosen : D.receiving_levels) {
    const int l = chosen == the_predicting_level ? predicting<D>() : chosen;
    if (l < 0 || l >= most_levels) continue;  // another rule's
    if (seen[l]) return false;
    seen[l] = true;
  }
  return true;
}

// A sentence must be a literal, so the level's number is written out eight times. bool_constant, because
// clang prints the condition, and a lambda in it over many lines.
#define STRATA_LEVEL_RULE(rule, sentence)                                                    \
  static_assert(std::bool_constant<holds<D>(0, rule)>::value, "strata: level 0: " sentence); \
  static_assert(std::bool_constant<holds<D>(1, rule)>::value, "strata: level 1: " sentence); \
  static_assert(std::bool_constant<holds<D>(2, rule)>::value, "strata: level 2: " sentence); \
  static_assert(std::bool_constant<holds<D>(3, rule)>::value, "strata: level 3: " sentence); \
  static_assert(std::bool_constant<holds<D>(4, rule)>::value, "strata: level 4: " sentence); \
  static_assert(std::bool_constant<holds<D>(5, rule)>::value, "strata: level 5: " sentence); \
  static_assert(std::bool_constant<holds<D>(6, rule)>::value, "strata: level 6: " sentence); \
  static_assert(std::bool_constant<holds<D>(7, rule)>::value, "strata: level 7: " sentence)

/// Whether the compiler knows what `D` holds.
template <const auto& D>
concept constant = requires {
  typename std::integral_constant<int, D.depth>;
};

/// Instantiating this checks what every other rule relies on.
template <const auto& D>
struct check_form {
  static_assert(constant<D>,
                "strata: a description must be a constant: inline constexpr strata::description name{..};");
  static constexpr bool some_levels = D.levels.size() >= 1;
  static_assert(some_levels, "strata: a description needs at least one level: .levels = {{.dim = 128}}");
  static_assert(D.levels.fits(), "strata: a model has at most 8 levels");
  static_assert(D.receiving_levels.fits(), "strata: receiving_levels has at most 8 entries");
  static constexpr bool passed = some_levels && D.levels.fits() && D.receiving_levels.fits();
};

/// Instantiating this checks every rule that concerns one level alone.
template <const auto& D>
struct check_levels {
  static_assert(D.max_length >= 1, "strata: max_length must be positive");
  STRATA_LEVEL_RULE([](level l) { return power_of_two(l.compression); }, "compression must be a power of two");
  STRATA_LEVEL_RULE([](level l) { return power_of_two(l.stride); }, "stride must be a power of two");
  STRATA_LEVEL_RULE([](level l) { return l.stride <= l.compression; }, "stride must not exceed compression");
  STRATA_LEVEL_RULE([](level l) { return l.dim > 0; }, "dim must be positive");
  STRATA_LEVEL_RULE([](level l) { return l.heads > 0; }, "heads must be positive");
  STRATA_LEVEL_RULE([](level l) { return l.head_dim > 0 && l.head_dim % 2 == 0; },
                    "head_dim must be positive and even (rotary embeddings rotate pairs)");
  STRATA_LEVEL_RULE([](level l) { return l.window >= automatic_window; },
                    "window must be 0, positive, full_attention or automatic_window");
  STRATA_LEVEL_RULE([](level l) { return l.feed_forward_multiple > 0; }, "feed_forward_multiple must be positive");
  STRATA_LEVEL_RULE([](level l) { return l.routing.capacity >= 0 && l.routing.capacity <= 1; },
                    "routing.capacity must be 0 (no routing) or a part of the positions, up to 1");
  STRATA_LEVEL_RULE([](level l) { return l.routing.light_multiple > 0; }, "routing.light_multiple must be positive");
  STRATA_LEVEL_RULE([](level l) { return l.compression > 1 || l.compressor == compressor_kind::convolution; },
                    "compressor must be left out where compression is 1: there is nothing to attend to");
  STRATA_LEVEL_RULE([](level l) { return l.compression <= D.max_length; }, "compression must not exceed max_length");
  STRATA_LEVEL_RULE(
      [](level l) { return !l.attends_to_all(D.max_length) || l.reach(D.max_length) <= longest_full_attention; },
      "full attention reaches at most 65536 positions (xPos would overflow)");
  static constexpr bool passed = true;
};
#undef STRATA_LEVEL_RULE

/// Instantiating this checks the rules between levels; it relies on those of single levels.
template <const auto& D>
struct check_model {
  static_assert(D.vocabulary >= 2, "strata: vocabulary must be at least 2");
  static_assert(D.depth >= 1, "strata: depth must be positive");
  static_assert(compressions_differ<D>(), "strata: two levels have the same compression");
  static constexpr bool levels_of_hourglass = has_levels_of_hourglass<D>();
  static_assert(levels_of_hourglass,
                "strata: an hourglass has two levels, one without compression and one whose stride is its compression");
  static constexpr bool layers_of_hourglass = has_layers_of_hourglass<D>();
  static_assert(layers_of_hourglass,
                "strata: an hourglass has at least one layer before, one after and one between them (depth is all)");
  static constexpr bool hourglass_without_merge =
      !D.fine_layers.any() || (std::is_same_v<std::remove_cvref_t<decltype(D.merge)>, concatenate> &&
                               D.receiving_levels.size() == 1 && D.receiving_levels[0] == the_predicting_level);
  static_assert(hourglass_without_merge,
                "strata: an hourglass has no merges, so merge and receiving_levels must stay as they are");
  static constexpr bool hourglass_without_sharing = !D.fine_layers.any() || !D.share_attention;
  static_assert(hourglass_without_sharing,
                "strata: the levels of an hourglass run in different layers and cannot share attention");
  static constexpr bool shares_attention_if_asked = !D.share_attention || can_share_attention<D>();
  static_assert(shares_attention_if_asked,
                "strata: share_attention needs two levels with attention and equal dim, heads and head_dim");
  static_assert(D.predicting_level >= least_compressed && D.predicting_level < D.levels.size(),
                "strata: predicting_level must be the index of a level or least_compressed");
  static_assert(receiving_levels_exist<D>(),
                "strata: receiving_levels must be indices of levels or the_predicting_level, or every_level alone");
  static_assert(receiving_levels_differ<D>(), "strata: receiving_levels names a level twice");
  static constexpr bool passed = true;
};

/// Instantiating this checks the rules about the level that predicts.
template <const auto& D>
struct check_predicting_level {
  static_assert(D.levels[predicting<D>()].stride == 1,
                "strata: the predicting level must have stride 1, it gives a prediction at every token");
  static constexpr bool passed = true;
};

/// True, or a static_assert that names the level and the rule. In stages, so that the first broken rule is
/// the only message about it.
template <const auto& D>
constexpr bool check() {
  if constexpr (check_form<D>::passed)
    if constexpr (check_levels<D>::passed)
      if constexpr (check_model<D>::passed) return check_predicting_level<D>::passed;
  return false;
}

}  // namespace rules
}  // namespace strata

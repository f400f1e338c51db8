// The rules for model descriptions. A broken rule is one compile error, in one sentence.
// Source: docs/model.md; every rule has a program in tests/compile_fail/ that must not compile.
#pragma once

#include <type_traits>

#include <strata/config/description.hpp>
#include <strata/config/facts.hpp>
#include <strata/config/level.hpp>
#include <strata/core/rule.hpp>

namespace strata::inline STRATA_ABI {
namespace rules {

/// Beyond this distance the xPos factor of the first pair leaves the range of a float.
inline constexpr int longest_full_attention = 65536;

/// Of what a level's sizes are products of.
constexpr bool is_factor(int number) { return number > 0 && number <= largest_factor; }
constexpr bool power_of_two(int number) { return number > 0 && (number & (number - 1)) == 0; }

/// Whether `rule` holds for level `l`; a level that does not exist passes.
template <const auto& D, class Rule>
constexpr bool holds(int l, Rule rule) {
  return l >= D.levels.size() || rule(D.levels[l]);
}
template <const auto& D, class Rule>
constexpr bool all_hold(Rule rule) {
  for (int l = 0; l < D.levels.size(); ++l)
    if (!rule(D.levels[l])) return false;
  return true;
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
  if (!derived::hourglass(D)) return true;
  bool has_finest = false;
  for (const level& each : D.levels) {
    if (each.compression != each.stride) return false;
    has_finest = has_finest || each.compression == 1;
  }
  return has_finest && D.levels.size() > 1;
}
template <const auto& D>
constexpr bool has_layers_of_hourglass() {
  if (!derived::hourglass(D)) return true;
  int left = D.depth;
  const int count = D.levels.size();
  for (int l = 0; l < count; ++l) {
    const level& own = D.levels[l];
    const bool coarsest = derived::coarsest(D, l);
    if (coarsest ? own.before != 0 || own.after != 0 : own.before < 1 || own.after < 1) return false;
    if (own.before > left || own.after > left - own.before) return false;
    left -= own.before + own.after;
  }
  return left >= 1;
}
template <const auto& D>
constexpr bool upsamples_coarse_levels() {
  for (const level& each : D.levels)
    if (each.compression == 1 && each.upsampling != upsampling_kind::linear) return false;
  return true;
}
/// Whether the finest level has a position at every token.
template <const auto& D>
constexpr bool cuts_coarse_levels() {
  for (const level& each : D.levels)
    if (each.compression == 1 && each.boundaries.follows_text()) return false;
  return true;
}
/// Whether levels whose boundaries follow the text have only parts that follow them.
template <const auto& D>
constexpr bool has_parts_for_boundaries() {
  for (int l = 0; l < D.levels.size(); ++l) {
    const level& own = D.levels[l];
    if (!derived::ragged(D, l)) continue;
    if (own.boundaries.kind == boundary_kind::learned &&
        (own.upsampling != upsampling_kind::linear || !derived::hourglass(D)))
      return false;
    if (!derived::hourglass(D) && own.stride != own.compression) return false;
    if (own.compressor == compressor_kind::attention || own.upsampling == upsampling_kind::attention ||
        own.routing.capacity != 0 || own.ngrams.size() > 0 || D.logits != logits_source::predicting_level)
      return false;
  }
  return true;
}
/// Whether no other level has parts that follow them. Side by side, such levels compress like all others.
template <const auto& D>
constexpr bool has_parts_for_strides() {
  for (int l = 0; l < D.levels.size(); ++l) {
    const level& own = D.levels[l];
    if (derived::hourglass(D) && derived::ragged(D, l)) continue;
    if (own.compressor == compressor_kind::padding || own.upsampling == upsampling_kind::at_boundaries ||
        own.upsampling == upsampling_kind::by_offset)
      return false;
  }
  return true;
}
/// Whether a level with padding is at least as wide as what it pads.
template <const auto& D>
constexpr bool pads_to_wider_levels() {
  for (int l = 0; l < D.levels.size(); ++l) {
    const int finer = derived::finer(D, l);
    if (D.levels[l].compressor == compressor_kind::padding && finer >= 0 && D.levels[finer].dim > D.levels[l].dim)
      return false;
  }
  return true;
}
template <const auto& D>
constexpr bool has_no_merge_of_hourglass() {
  return !derived::hourglass(D) || (std::is_same_v<std::remove_cvref_t<decltype(D.merge)>, concatenate> &&
                                    D.receiving_levels.size() == 1 && D.receiving_levels[0] == the_predicting_level);
}
/// Whether every entry of `receiving_levels` is a level's index or a permitted name.
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
    const int l = chosen == the_predicting_level ? derived::predicting_level(D) : chosen;
    if (l < 0 || l >= most_levels) continue;  // another rule reports this
    if (seen[l]) return false;
    seen[l] = true;
  }
  return true;
}

// The sentence must be a literal, so the level's number is written out eight times. clang prints the condition:
// bool_constant keeps the lambda, many lines long, out of it.
#define STRATA_LEVEL_RULE(name, rule, sentence)                                              \
  static constexpr bool name = all_hold<D>(rule);                                            \
  static_assert(std::bool_constant<holds<D>(0, rule)>::value, "strata: level 0: " sentence); \
  static_assert(std::bool_constant<holds<D>(1, rule)>::value, "strata: level 1: " sentence); \
  static_assert(std::bool_constant<holds<D>(2, rule)>::value, "strata: level 2: " sentence); \
  static_assert(std::bool_constant<holds<D>(3, rule)>::value, "strata: level 3: " sentence); \
  static_assert(std::bool_constant<holds<D>(4, rule)>::value, "strata: level 4: " sentence); \
  static_assert(std::bool_constant<holds<D>(5, rule)>::value, "strata: level 5: " sentence); \
  static_assert(std::bool_constant<holds<D>(6, rule)>::value, "strata: level 6: " sentence); \
  static_assert(std::bool_constant<holds<D>(7, rule)>::value, "strata: level 7: " sentence)

/// Whether `D` is a compile-time constant.
template <const auto& D>
concept constant = requires {
  typename std::integral_constant<int, D.depth>;
};

/// Instantiating this checks what all other rules rely on.
template <const auto& D>
struct check_form {
  STRATA_RULE(is_constant, constant<D>,
              "a description must be a constant: inline constexpr strata::description name{..};");
  static constexpr bool passed = is_constant;
};
template <const auto& D>
struct check_sizes {
  STRATA_RULE(some_levels, D.levels.size() >= 1, "a description needs at least one level: .levels = {{.dim = 128}}");
  STRATA_RULE(not_too_many, D.levels.fits(), "a model has at most 8 levels");
  STRATA_RULE(receivers, D.receiving_levels.fits(), "receiving_levels has at most 8 entries");
  STRATA_RULE(tables, D.ngrams.fits(), "ngrams has at most 8 tables");
  STRATA_LEVEL_RULE(
      tables_of_levels, [](const level& l) { return l.ngrams.fits(); }, "ngrams has at most 8 tables");
  static constexpr bool passed = some_levels && not_too_many && receivers && tables && tables_of_levels;
};

/// Instantiating this checks every rule that concerns one level alone.
template <const auto& D>
struct check_levels {
  STRATA_RULE(length, (D.max_length >= 1 && D.max_length <= largest_length),
              "max_length must be positive and at most 1073741824");
  STRATA_LEVEL_RULE(
      compression, [](const level& l) { return power_of_two(l.compression) && l.compression <= largest_compression; },
      "compression must be a power of two, at most 16777216");
  STRATA_LEVEL_RULE(
      stride, [](const level& l) { return power_of_two(l.stride); }, "stride must be a power of two");
  STRATA_LEVEL_RULE(
      small_stride, [](const level& l) { return l.stride <= l.compression; }, "stride must not exceed compression");
  STRATA_LEVEL_RULE(
      dim, [](const level& l) { return is_factor(l.dim); }, "dim must be positive and at most 32768");
  STRATA_LEVEL_RULE(
      heads, [](const level& l) { return is_factor(l.heads); }, "heads must be positive and at most 32768");
  STRATA_LEVEL_RULE(
      head_dim, [](const level& l) { return is_factor(l.head_dim) && l.head_dim % 2 == 0; },
      "head_dim must be positive and even, at most 32768 (rotary embeddings rotate pairs)");
  STRATA_LEVEL_RULE(
      window, [](const level& l) { return l.window >= automatic_window; },
      "window must be 0, positive, full_attention or automatic_window");
  STRATA_LEVEL_RULE(
      feed_forward, [](const level& l) { return is_factor(l.feed_forward_multiple); },
      "feed_forward_multiple must be positive and at most 32768");
  STRATA_LEVEL_RULE(
      capacity, [](const level& l) { return l.routing.capacity >= 0 && l.routing.capacity <= 1; },
      "routing.capacity must be 0 (no routing) or a part of the positions, up to 1");
  STRATA_LEVEL_RULE(
      light, [](const level& l) { return is_factor(l.routing.light_multiple); },
      "routing.light_multiple must be positive and at most 32768");
  STRATA_LEVEL_RULE(
      compressor, [](const level& l) { return l.compression > 1 || l.compressor == compressor_kind::convolution; },
      "compressor must be left out where compression is 1: there is nothing to attend to");
  STRATA_LEVEL_RULE(
      fits, [](const level& l) { return D.max_length < 1 || l.compression <= D.max_length; },
      "compression must not exceed max_length");
  STRATA_LEVEL_RULE(
      reach,
      [](const level& l) {
        return l.compression < 1 || !l.attends_to_all(D.max_length) || l.reach(D.max_length) <= longest_full_attention;
      },
      "full attention reaches at most 65536 positions (xPos would overflow)");
  STRATA_LEVEL_RULE(
      boundary_reach, [](const level& l) { return l.boundaries.reach >= 1 && l.boundaries.reach <= longest_reach; },
      "the reach of a boundary rule must be from 1 to 1024 tokens");
  STRATA_LEVEL_RULE(
      boundaries_of_bytes,
      [](const level& l) {
        return D.vocabulary <= 256 || (l.boundaries != boundaries::word_starts && l.boundaries != boundaries::lines);
      },
      "word_starts and lines are rules of bytes: vocabulary must be at most 256");
  static constexpr bool passed = boundary_reach && boundaries_of_bytes && length && compression && stride &&
                                 small_stride && dim && heads && head_dim && window && feed_forward && capacity &&
                                 light && compressor && fits && reach;
};

/// Whether `rule` holds for every n-gram table, those of levels included.
template <const auto& D, class Rule>
constexpr bool all_ngrams_hold(Rule rule) {
  for (const ngram& each : D.ngrams)
    if (!rule(each)) return false;
  return all_hold<D>([&](const level& l) {
    for (const ngram& each : l.ngrams)
      if (!rule(each)) return false;
    return true;
  });
}

/// Instantiating this checks the n-gram tables.
template <const auto& D>
struct check_ngrams {
  STRATA_RULE(vocabulary, D.vocabulary >= 2, "vocabulary must be at least 2");
  STRATA_RULE(length, all_ngrams_hold<D>([](const ngram& n) { return n.length >= 2 && n.length <= longest_ngram; }),
              "the length of an n-gram must be from 2 to 16");
  STRATA_RULE(rows, all_ngrams_hold<D>([](const ngram& n) { return n.rows >= 0 && n.rows <= most_ngram_rows; }),
              "the rows of an n-gram table must be 0 (one for each n-gram) or positive, at most 67108864");
  STRATA_RULE(exact, all_ngrams_hold<D>([](const ngram& n) {
                return n.rows > 0 || ngram_count(D.vocabulary, n.length) <= most_ngram_rows;
              }),
              "an n-gram table needs .rows where there are more than 67108864 n-grams: a hash then chooses the row");
  static constexpr bool passed = vocabulary && length && rows && exact;
};

/// Instantiating this checks the rules between levels. It relies on the rules of single levels.
template <const auto& D>
struct check_model {
  STRATA_RULE(depth, D.depth >= 1, "depth must be positive");
  STRATA_RULE(compressions, compressions_differ<D>(), "two levels have the same compression");
  STRATA_RULE(levels_of_hourglass, has_levels_of_hourglass<D>(),
              "an hourglass has a level without compression and others whose stride is their compression");
  STRATA_RULE(layers_of_hourglass, has_layers_of_hourglass<D>(),
              "an hourglass has at least one layer before and one after on each level but the coarsest, and one there "
              "(depth is all)");
  STRATA_RULE(upsampling, upsamples_coarse_levels<D>(),
              "upsampling is of a compressed level: it says how that level is added to the next finer one");
  STRATA_RULE(cuts, cuts_coarse_levels<D>(), "boundaries are of a compressed level: the finest has every token");
  STRATA_RULE(
      parts_for_boundaries, has_parts_for_boundaries<D>(),
      "levels whose boundaries follow the text have no attention between levels, no routing, no n-grams of their "
      "own, and no part in the logits; learned ones have the usual upsampling and are nested (.before and .after); "
      "side "
      "by side the stride is the compression");
  STRATA_RULE(
      parts_for_strides, has_parts_for_strides<D>(),
      "padding, at_boundaries and by_offset are of nested levels whose boundaries follow the text: set .boundaries");
  STRATA_RULE(padding, pads_to_wider_levels<D>(),
              "padding makes rows wider: dim must be at least that of the next finer level");
  STRATA_RULE(hourglass_without_merge, has_no_merge_of_hourglass<D>(),
              "an hourglass has no merges, so merge and receiving_levels must stay as they are");
  STRATA_RULE(hourglass_without_sharing, (!derived::hourglass(D) || !D.share_attention),
              "the levels of an hourglass run in different layers and cannot share attention");
  STRATA_RULE(shares_attention_if_asked, (!D.share_attention || can_share_attention<D>()),
              "share_attention needs two levels with attention and equal dim, heads and head_dim");
  STRATA_RULE(predicting, (D.predicting_level >= least_compressed && D.predicting_level < D.levels.size()),
              "predicting_level must be the index of a level or least_compressed");
  STRATA_RULE(receivers_exist, receiving_levels_exist<D>(),
              "receiving_levels must be indices of levels or the_predicting_level, or every_level alone");
  STRATA_RULE(receivers_differ, receiving_levels_differ<D>(), "receiving_levels names a level twice");
  static constexpr bool passed = depth && compressions && levels_of_hourglass && layers_of_hourglass && upsampling &&
                                 cuts && parts_for_boundaries && parts_for_strides && padding &&
                                 hourglass_without_merge && hourglass_without_sharing && shares_attention_if_asked &&
                                 predicting && receivers_exist && receivers_differ;
};

/// Instantiating this checks the rules about the level that predicts.
template <const auto& D>
struct check_predicting_level {
  STRATA_RULE(passed, D.levels[derived::predicting_level(D)].stride == 1,
              "the predicting level must have stride 1, it gives a prediction at every token");
};
#undef STRATA_LEVEL_RULE

/// Whether `D` breaks no rule; if it does, a static_assert names level and rule. The rules are checked in stages, so the
/// first broken one is the only error.
template <const auto& D>
concept check = passes<check_form<D>> && passes<check_sizes<D>> && passes<check_levels<D>> && passes<check_ngrams<D>> &&
    passes<check_model<D>> && passes<check_predicting_level<D>>;

}  // namespace rules
}  // namespace strata

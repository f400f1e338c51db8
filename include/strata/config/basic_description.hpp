// The template of descriptions; description.hpp adds the default merge.
// Source: docs/model.md; the defaults are those of the reference package.
#pragma once

#include <array>
#include <string_view>

#include <strata/config/level.hpp>
#include <strata/core/short_list.hpp>

namespace strata::inline STRATA_ABI {

struct concatenate;  // merges/concatenate.hpp

/// Which levels the logits are computed from.
enum class logits_source { predicting_level, all_levels };
constexpr std::array<std::string_view, 2> names_of(logits_source) { return {"predicting_level", "all_levels"}; }

/// What a position takes from the position before it, in front of each half of a block. With `half_channels`, half of
/// its channels are those of the earlier position, as in the reference package. With `learned`, the normed earlier
/// position is added, each channel times a learned number that is 0 at first.
enum class token_shift_kind { half_channels, learned };
constexpr std::array<std::string_view, 2> names_of(token_shift_kind) { return {"half_channels", "learned"}; }

inline constexpr int least_compressed = -1;      ///< `predicting_level`: the level with the smallest compression
inline constexpr int the_predicting_level = -1;  ///< in `receiving_levels`: the level that predicts
inline constexpr int every_level = -2;           ///< in `receiving_levels`, as the only entry: all levels

using level_indices = short_list<int, most_levels>;

/// Describes a model whose levels are merged by `Merge`, a type such as `strata::level_attention`. If levels say how many
/// layers they have `before` and `after` the coarser ones, the levels are nested instead, as an hourglass: each layer runs on
/// one level, and nothing is merged.
///
///     inline constexpr strata::description shakespeare{
///         .max_length = 512,
///         .depth = 4,
///         .levels = {{.dim = 128, .heads = 4, .head_dim = 32, .window = 32},
///                    {.compression = 2, .dim = 192, .heads = 4, .head_dim = 48, .window = 64}}};
template <class Merge = concatenate>
struct basic_description {
  int vocabulary = 256;   ///< V: tokens are 0 .. V-1; bytes by default
  int max_length = 1024;  ///< T: the reach of full attention, and the most prompt tokens in one pass
  int depth = 6;          ///< layers
  Merge merge = {};       ///< combines the levels after every layer
  level_list levels = {};
  ngram_list ngrams = {};  ///< tables whose rows are added to the token embedding, so that every level sees them
  token_shift_kind token_shift = token_shift_kind::half_channels;
  int predicting_level = least_compressed;                  ///< index into `levels`
  level_indices receiving_levels = {the_predicting_level};  ///< levels that the merge adds to
  logits_source logits = logits_source::predicting_level;
  /// Levels with equal dim, heads and head_dim share one set of attention weights. Each level keeps its own norms.
  bool share_attention = false;
};
/// A copy of `own`, changed by `change`:
///
///     inline constexpr auto wider = strata::with(shakespeare, [](auto& d) { d.levels[0].dim = 256; });
template <class Description, class Change>
constexpr Description with(Description own, Change change) {
  change(own);
  return own;
}

/// A copy of `from` whose levels are merged by `merge`.
template <class Merge, class Other>
constexpr basic_description<Merge> with_merge(const basic_description<Other>& from, Merge merge) {
  return {.vocabulary = from.vocabulary,
          .max_length = from.max_length,
          .depth = from.depth,
          .merge = merge,
          .levels = from.levels,
          .ngrams = from.ngrams,
          .token_shift = from.token_shift,
          .predicting_level = from.predicting_level,
          .receiving_levels = from.receiving_levels,
          .logits = from.logits,
          .share_attention = from.share_attention};
}

}  // namespace strata

// What follows from a model description: every number the layers need, computed at compile time.
// Shapes: level l has positions(T) = ceil(T / s) rows of width `dim`, in `dilation` = c / s interleaved sequences.
// Source: docs/model.md.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <string_view>

#include <strata/config/level.hpp>
#include <strata/config/model_defaults.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

/// One level with every default resolved. Layers take this, so they compile once a backend and not once a
/// model.
struct level_facts {
  int compression = 1;
  int stride = 1;
  int dilation = 1;  ///< interleaved sequences: position i belongs to sequence i mod dilation
  int dim = 0;
  int heads = 0;
  int head_dim = 0;
  int span = 0;                     ///< positions a query sees, its own included; 0: the level has no attention
  bool linear_compression = false;  ///< a linear map of the tokens side by side, else a convolution
  bool pools = false;               ///< tokens are compressed by attention, not by a convolution
  int upsample_span = 0;            ///< positions that a token of an hourglass attends to; 0: a linear map
  bool full = false;                ///< full attention: RMSNorm and xPos; else LayerNorm and plain rotary
  int hidden = 0;                   ///< width inside the feed-forward that every position passes
  int heavy_hidden = 0;             ///< width inside the one that selected positions pass besides; 0: there is none
  double capacity = 0;              ///< the part of the positions that may be selected
  int first_channel = 0;            ///< where this level starts in the concatenation of all levels
  bool receives = false;            ///< whether the merge after every layer adds to this level
  int attention_of = 0;             ///< the level whose attention weights this one uses; itself unless they are shared
  double attention_dropout = 0, feed_forward_dropout = 0;

  constexpr int attention_dim() const { return heads * head_dim; }
  constexpr index_type positions(index_type tokens) const { return (tokens + stride - 1) / stride; }
  /// How many of `positions` positions belong to an interleaved sequence.
  constexpr index_type sequence_length(index_type positions, int sequence) const {
    return (positions - sequence + dilation - 1) / dilation;
  }
  constexpr bool compressed() const { return compression > 1; }
  constexpr bool upsamples_by_attention() const { return upsample_span > 0; }
  constexpr bool routed() const { return heavy_hidden > 0; }
};

/// The constants of a model description.
template <class Config>
struct facts {
  static constexpr int level_count = static_cast<int>(std::size(Config::levels));
  static constexpr int depth = Config::depth;
  static constexpr int vocabulary = Config::vocabulary;
  static constexpr int max_length = Config::max_length;
  static constexpr int ignore_index = Config::ignore_index;
  static constexpr bool logits_from_all = Config::logits == logits_source::all_levels;
  static constexpr bool drops =
      Config::embedding_dropout > 0 || Config::attention_dropout > 0 || Config::feed_forward_dropout > 0;

  /// Whether the description names this loss; cross-entropy needs no name.
  static constexpr bool names_loss(std::string_view name) {
    return std::find(std::begin(Config::losses), std::end(Config::losses), name) != std::end(Config::losses);
  }

  /// In an hourglass layers run on one level each, elsewhere on all, with a merge after each layer.
  static constexpr bool hourglass = Config::fine_layers.any();
  static constexpr bool merges = level_count > 1 && !hourglass;
  static constexpr bool upsamples_by_attention = Config::fine_layers.upsampling == upsampling_kind::attention;
  /// Where the fine stream takes up the coarse one; -1 where there is none.
  static constexpr int upsample_layer = hourglass ? depth - Config::fine_layers.after : -1;
  static constexpr int coarse = [] {
    int l = 0;
    while (hourglass && Config::levels[l].compression == 1) ++l;
    return l;
  }();
  static constexpr int fine = hourglass ? 1 - coarse : 0;
  /// The first layer that runs on level `l`.
  static constexpr int first_layer(int l) { return hourglass && l == coarse ? Config::fine_layers.before : 0; }
  static constexpr bool runs(int layer, int l) {
    if (!hourglass) return true;
    return (l == coarse) == (layer >= Config::fine_layers.before && layer < upsample_layer);
  }
  /// How many layers run on level `l`.
  static constexpr int layers_of(int l) {
    int count = 0;
    for (int layer = 0; layer < depth; ++layer) count += runs(layer, l) ? 1 : 0;
    return count;
  }

  static constexpr int predicting_level = [] {
    if (Config::predicting_level >= 0) return static_cast<int>(Config::predicting_level);
    int best = 0;
    for (int l = 1; l < level_count; ++l)
      if (Config::levels[l].compression < Config::levels[best].compression) best = l;
    return best;
  }();
  /// D, the width of the token embedding: that of the widest level, in an hourglass of the fine one.
  static constexpr int embedding_dim = [] {
    if (hourglass) return Config::levels[fine].dim;
    int widest = 0;
    for (const level& each : Config::levels) widest = each.dim > widest ? each.dim : widest;
    return widest;
  }();
  static constexpr int concatenated_dim = [] {
    int total = 0;
    for (const level& each : Config::levels) total += each.dim;
    return total;
  }();
  static constexpr int first_that_shares(int l) {
    for (int earlier = 0; Config::share_attention && earlier < l; ++earlier)
      if (Config::levels[earlier].can_share_attention(Config::levels[l])) return earlier;
    return l;
  }
  /// Whether the merge after every layer adds to level `l`.
  static constexpr bool receives(int l) {
    for (int chosen : Config::receiving_levels)
      if (chosen == l || chosen == every_level || (chosen == the_predicting_level && l == predicting_level))
        return true;
    return false;
  }
  static constexpr std::array<level_facts, level_count> levels = [] {
    std::array<level_facts, level_count> result{};
    int channel = 0;
    for (int l = 0; l < level_count; ++l) {
      const level& given = Config::levels[l];
      const int own_length = max_length / given.compression;
      const int window = given.window == automatic_window ? (own_length > 1 ? own_length / 2 : 1) : given.window;
      const bool full = given.attends_to_all(max_length), routed = given.routing.capacity > 0;
      const int span = full ? given.reach(max_length) : (window == 0 ? 0 : window + 1);
      result[l] = {
          .compression = given.compression,
          .stride = given.stride,
          .dilation = given.compression / given.stride,
          .dim = given.dim,
          .heads = given.heads,
          .head_dim = given.head_dim,
          .span = span,
          .linear_compression = hourglass && given.compression > 1 && given.compressor != compressor_kind::attention,
          .pools = given.compressor == compressor_kind::attention,
          .upsample_span = upsamples_by_attention && given.compression > 1 ? (span > 0 ? span : 1) : 0,
          .full = full,
          .hidden = given.dim * (routed ? given.routing.light_multiple : given.feed_forward_multiple),
          .heavy_hidden = routed ? given.dim * given.feed_forward_multiple : 0,
          .capacity = given.routing.capacity,
          .first_channel = channel,
          .receives = receives(l),
          .attention_of = first_that_shares(l),
          .attention_dropout = Config::attention_dropout,
          .feed_forward_dropout = Config::feed_forward_dropout};
      channel += given.dim;
    }
    return result;
  }();
  static constexpr level_facts predicting = levels[predicting_level];
  static constexpr int logits_dim = logits_from_all ? concatenated_dim : predicting.dim;
  /// Tokens that the longest convolution reads.
  static constexpr int largest_compression = [] {
    int largest = 1;
    for (const level_facts& each : levels)
      if (!each.pools && each.compression > largest) largest = each.compression;
    return largest;
  }();
};

}  // namespace strata

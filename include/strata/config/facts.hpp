// Every number that the layers need, computed from a model description at compile time.
// Shapes: level l has positions(T) = ceil(T / s) rows of width `dim`, in `dilation` = c / s interleaved sequences.
// Source: docs/model.md.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <strata/config/basic_description.hpp>
#include <strata/config/level.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

/// Most tokens of one pass, batch times length: sizes stay far from overflow.
inline constexpr index_type most_tokens = index_type{1} << 36;

/// One level with every default resolved. Layers take this type, so they compile once per backend, not once per model.
struct level_facts {
  int compression = 1;
  int stride = 1;
  int from = -1;                        ///< the level whose stream it compresses, in an hourglass; -1: the tokens
  int shortens = 1;                     ///< positions of its source that one of its positions summarises
  int source_stride = 1;                ///< positions of its source between two of its own
  bool ragged = false;                  ///< its boundaries follow the text, or those of a finer level do
  const boundary_rule* rule = nullptr;  ///< that decides where its positions begin; null: every `source_stride`
  bool learned_boundaries = false;      ///< the model decides
  int dilation = 1;                     ///< interleaved sequences: position i belongs to sequence i mod dilation
  int dim = 0;
  int heads = 0;
  int head_dim = 0;
  int span = 0;                     ///< positions that a query sees, its own included; 0: the level has no attention
  bool linear_compression = false;  ///< a linear map compresses the tokens, not a convolution
  bool pools = false;               ///< attention compresses the tokens, not a convolution
  bool pads = false;                ///< a wider row has a learned vector in its other channels
  upsampling_kind upsampling = upsampling_kind::linear;
  int upsample_span = 0;       ///< coarse positions that a token of an hourglass attends to; 0: no attention
  bool full = false;           ///< full attention: RMSNorm and xPos; else LayerNorm and plain rotary
  int hidden = 0;              ///< hidden width of the feed-forward of every position
  int heavy_hidden = 0;        ///< hidden width of the heavy branch of selected positions; 0: no routing
  double capacity = 0;         ///< the share of positions that may be selected
  int first_channel = 0;       ///< offset of this level in the concatenation of all levels
  bool receives = false;       ///< whether the merge after every layer adds to this level
  bool learned_shift = false;  ///< a learned token shift after the norms, not one of half of the channels before
  bool has_ngrams = false;     ///< rows of n-gram tables are added to this level's positions
  int attention_of = 0;        ///< the level whose attention weights this level uses; itself without sharing

  constexpr int attention_dim() const { return heads * head_dim; }
  constexpr index_type positions(index_type tokens) const { return (tokens + stride - 1) / stride; }
  /// How many positions it has for so many of its source.
  constexpr index_type positions_of_source(index_type source) const {
    return (source + source_stride - 1) / source_stride;
  }
  /// How many of `positions` positions belong to an interleaved sequence.
  constexpr index_type sequence_length(index_type positions, int sequence) const {
    return (positions - sequence + dilation - 1) / dilation;
  }
  /// Whether a position begins at position `source` of its source, if neither a rule nor the model decides.
  constexpr bool begins_by_stride(index_type source) const {
    return rule == nullptr && !learned_boundaries && source % source_stride == 0;
  }
  constexpr bool compressed() const { return compression > 1; }
  constexpr bool upsamples_by_attention() const { return upsample_span > 0; }
  constexpr bool routed() const { return heavy_hidden > 0; }
};

/// One entry per level. The fixed size lets code compile once for all models.
template <class T>
using each_level = std::array<T, most_levels>;

/// What merges and losses know about the model. The library fills it in.
struct model_facts {
  std::span<const level_facts> levels = {};
  int vocabulary = 0;
  int embedding_dim = 0;  ///< D, the width of the token embedding
  int max_length = 0;
  std::span<const std::string_view> losses = {};  ///< names of all losses that the model learns from

  /// Sum of the widths of all levels.
  constexpr index_type concatenated_dim() const { return levels.back().first_channel + levels.back().dim; }
  /// Whether level `l` receives at token `position`. With a stride it has positions only at some tokens.
  constexpr bool receives_at(std::size_t l, index_type position) const {
    return levels[l].receives && position % levels[l].stride == 0;
  }
  constexpr bool has_loss(std::string_view name) const {
    return std::find(losses.begin(), losses.end(), name) != losses.end();
  }
};

/// Values computed from a description, at compile time or at run time. Every function stays within bounds for any
/// description, so that a broken rule is the only error.
namespace derived {

template <class Merge>
constexpr int level_count(const basic_description<Merge>& d) {
  return std::clamp(d.levels.size(), 1, most_levels);
}
/// In an hourglass every layer runs on one level, otherwise on all levels, with a merge after each layer.
template <class Merge>
constexpr bool hourglass(const basic_description<Merge>& d) {
  for (const level& each : d.levels)
    if (each.in_hourglass()) return true;
  return false;
}
/// The level with the next smaller compression; -1 if there is none.
template <class Merge>
constexpr int finer(const basic_description<Merge>& d, int l) {
  int best = -1;
  for (int other = 0; other < level_count(d); ++other)
    if (d.levels[other].compression < d.levels[l].compression &&
        (best < 0 || d.levels[other].compression > d.levels[best].compression))
      best = other;
  return best;
}
template <class Merge>
constexpr bool coarsest(const basic_description<Merge>& d, int l) {
  for (int other = 0; other < level_count(d); ++other)
    if (d.levels[other].compression > d.levels[l].compression) return false;
  return true;
}
/// Of an hourglass: the first layer that runs on level `l`, and the layer after the last one.
template <class Merge>
constexpr int first_layer(const basic_description<Merge>& d, int l) {
  int layer = 0;
  for (int other = 0; other < level_count(d); ++other)
    if (d.levels[other].compression < d.levels[l].compression) layer += d.levels[other].before;
  return layer;
}
template <class Merge>
constexpr int end_layer(const basic_description<Merge>& d, int l) {
  int layer = d.depth;
  for (int other = 0; other < level_count(d); ++other)
    if (d.levels[other].compression < d.levels[l].compression) layer -= d.levels[other].after;
  return layer;
}
/// Whether the boundaries of level `l` follow the text, or in an hourglass those of a finer one.
template <class Merge>
constexpr bool ragged(const basic_description<Merge>& d, int l) {
  if (!hourglass(d)) return d.levels[l].boundaries.follows_text();
  for (int other = 0; other < level_count(d); ++other)
    if (d.levels[other].compression <= d.levels[l].compression && d.levels[other].boundaries.follows_text())
      return true;
  return false;
}
template <class Merge>
constexpr bool merges(const basic_description<Merge>& d) {
  return level_count(d) > 1 && !hourglass(d);
}
template <class Merge>
constexpr int predicting_level(const basic_description<Merge>& d) {
  if (d.predicting_level >= 0) return std::min(d.predicting_level, level_count(d) - 1);
  int best = 0;
  for (int l = 1; l < level_count(d); ++l)
    if (d.levels[l].compression < d.levels[best].compression) best = l;
  return best;
}
/// D, the width of the token embedding: the width of the widest level, or in an hourglass of the finest level.
template <class Merge>
constexpr int embedding_dim(const basic_description<Merge>& d) {
  int widest = 0;
  for (int l = 0; l < level_count(d); ++l)
    if (!hourglass(d) || finer(d, l) < 0) widest = std::max(widest, d.levels[l].dim);
  return widest;
}
/// Whether the merge after every layer adds to level `l`.
template <class Merge>
constexpr bool receives(const basic_description<Merge>& d, int l) {
  for (const int chosen : d.receiving_levels)
    if (chosen == l || chosen == every_level || (chosen == the_predicting_level && l == predicting_level(d)))
      return true;
  return false;
}
/// The level whose attention weights level `l` uses.
template <class Merge>
constexpr int attention_of(const basic_description<Merge>& d, int l) {
  for (int earlier = 0; d.share_attention && earlier < l; ++earlier)
    if (d.levels[earlier].can_share_attention(d.levels[l])) return earlier;
  return l;
}
template <class Merge>
constexpr each_level<level_facts> levels(const basic_description<Merge>& d) {
  each_level<level_facts> result{};
  int channel = 0;
  for (int l = 0; l < level_count(d); ++l) {
    const level& given = d.levels[l];
    const int compression = std::max(1, given.compression), stride = std::max(1, given.stride);
    const int own_length = d.max_length / compression;
    const int window = given.window == automatic_window ? (own_length > 1 ? own_length / 2 : 1) : given.window;
    // A level that follows the text may have a position at every token.
    const bool follows = ragged(d, l), routed = given.routing.capacity > 0;
    const bool full = given.window == full_attention || (!follows && given.window > own_length);
    const int reach = follows ? d.max_length : (d.max_length + compression - 1) / compression;
    const int span = full ? reach : (window == 0 ? 0 : window + 1);
    const bool upsamples_by_attention = given.upsampling == upsampling_kind::attention && given.compression > 1;
    const int from = hourglass(d) ? finer(d, l) : -1;
    const int finer_compression = from >= 0 ? std::max(1, d.levels[from].compression) : 1;
    const int finer_stride = from >= 0 ? std::max(1, d.levels[from].stride) : 1;
    result[static_cast<std::size_t>(l)] = {
        .compression = compression,
        .stride = stride,
        .from = from,
        .shortens = compression / finer_compression,
        .source_stride = std::max(1, stride / finer_stride),
        .ragged = follows,
        .rule = given.boundaries.kind == boundary_kind::rule ? &given.boundaries : nullptr,
        .learned_boundaries = given.boundaries.kind == boundary_kind::learned,
        .dilation = compression / stride,
        .dim = given.dim,
        .heads = given.heads,
        .head_dim = given.head_dim,
        .span = span,
        .linear_compression = hourglass(d) && given.compression > 1 && given.compressor != compressor_kind::attention,
        .pools = given.compressor == compressor_kind::attention,
        .pads = given.compressor == compressor_kind::padding,
        .upsampling = given.upsampling,
        .upsample_span = upsamples_by_attention ? (span > 0 ? span : 1) : 0,
        .full = full,
        .hidden = given.dim * (routed ? given.routing.light_multiple : given.feed_forward_multiple),
        .heavy_hidden = routed ? given.dim * given.feed_forward_multiple : 0,
        .capacity = given.routing.capacity,
        .first_channel = channel,
        .receives = receives(d, l),
        .learned_shift = d.token_shift == token_shift_kind::learned,
        .has_ngrams = given.ngrams.size() > 0,
        .attention_of = attention_of(d, l)};
    channel += given.dim;
  }
  return result;
}

/// How many n-gram tables the model has.
template <class Merge>
constexpr int ngram_tables(const basic_description<Merge>& d) {
  int count = d.ngrams.size();
  for (int l = 0; l < level_count(d); ++l) count += d.levels[l].ngrams.size();
  return count;
}
constexpr ngram_facts facts_of(const ngram& given, int vocabulary, int level, int stride, int dim) {
  const std::int64_t all = ngram_count(vocabulary, given.length), rows = given.rows == 0 ? all : given.rows;
  return {given.length, std::min(rows, all), rows >= all, level, stride, dim};
}
/// Calls visit(facts) for every n-gram table: those of the token embedding, then those of each level.
template <class Merge, class Visit>
constexpr void for_each_ngram_table(const basic_description<Merge>& d, Visit visit) {
  for (const ngram& each : d.ngrams) visit(facts_of(each, d.vocabulary, -1, 1, embedding_dim(d)));
  for (int l = 0; l < level_count(d); ++l)
    for (const ngram& each : d.levels[l].ngrams)
      visit(facts_of(each, d.vocabulary, l, std::max(1, d.levels[l].stride), d.levels[l].dim));
}

}  // namespace derived

/// The constants of the model that `D` describes.
template <const auto& D>
struct facts {
  static constexpr int level_count = derived::level_count(D);
  static constexpr int depth = D.depth;
  static constexpr int vocabulary = D.vocabulary;
  static constexpr int max_length = D.max_length;
  static constexpr bool logits_from_all = D.logits == logits_source::all_levels;
  static constexpr bool hourglass = derived::hourglass(D);
  static constexpr bool merges = derived::merges(D);
  /// The first layer that runs on level `l`.
  static constexpr int first_layer(int l) { return hourglass ? derived::first_layer(D, l) : 0; }
  /// The layer before which level `l` of an hourglass is added to the next finer one; -1 if it is not.
  static constexpr int upsample_layer(int l) { return levels[l].from >= 0 ? derived::end_layer(D, l) : -1; }
  static constexpr bool runs(int layer, int l) {
    if (!hourglass) return true;
    const int first = derived::first_layer(D, l), end = derived::end_layer(D, l);
    if (derived::coarsest(D, l)) return layer >= first && layer < end;
    return (layer >= first && layer < first + D.levels[l].before) || (layer >= end - D.levels[l].after && layer < end);
  }
  /// Whether the final norm of level `l` comes before its stream is added to the finer level, which then reads its output.
  static constexpr bool leaves_early(int l) { return levels[l].ragged && levels[l].from >= 0; }
  /// How many layers run on level `l`.
  static constexpr int layers_of(int l) {
    int count = 0;
    for (int layer = 0; layer < depth; ++layer) count += runs(layer, l) ? 1 : 0;
    return count;
  }

  static constexpr int predicting_level = derived::predicting_level(D);
  static constexpr int embedding_dim = derived::embedding_dim(D);
  static constexpr int concatenated_dim = [] {
    int total = 0;
    for (const level& each : D.levels) total += each.dim;
    return total;
  }();
  static constexpr std::array<level_facts, level_count> levels = [] {
    const each_level<level_facts> all = derived::levels(D);
    std::array<level_facts, level_count> own;
    for (std::size_t l = 0; l < own.size(); ++l) own[l] = all[l];
    return own;
  }();
  /// Whether the boundaries of a level follow the text.
  static constexpr bool follows_text = [] {
    for (const level_facts& each : levels)
      if (each.ragged) return true;
    return false;
  }();
  /// The levels from the finest to the coarsest.
  static constexpr std::array<int, level_count> by_compression = [] {
    std::array<int, level_count> order{};
    for (int l = 0; l < level_count; ++l) {
      int finer = 0;
      for (int other = 0; other < level_count; ++other)
        finer += levels[other].compression < levels[l].compression ||
                 (levels[other].compression == levels[l].compression && other < l);
      order[finer] = l;
    }
    return order;
  }();
  /// How many levels decide their own positions, of level `l` and those finer than it. The positions of a group of levels
  /// are known only when those of the group before it have run.
  static constexpr int group(int l) {
    int count = 0;
    for (int other = 0; other < level_count; ++other)
      count += levels[other].compression <= levels[l].compression && levels[other].learned_boundaries ? 1 : 0;
    return count;
  }
  static constexpr int groups = [] {
    int most = 0;
    for (int l = 0; l < level_count; ++l) most = std::max(most, group(l));
    return most + 1;
  }();
  /// Positions of every level for `tokens` tokens; of a level that follows the text, about as many.
  static constexpr std::array<index_type, level_count> positions(index_type tokens) {
    std::array<index_type, level_count> own{};
    for (int l = 0; l < level_count; ++l) own[l] = levels[l].positions(tokens);
    return own;
  }
  /// The width of what level `l` compresses.
  static constexpr int source_dim(int l) { return levels[l].from >= 0 ? levels[levels[l].from].dim : embedding_dim; }
  static constexpr std::array<ngram_facts, static_cast<std::size_t>(derived::ngram_tables(D))> ngrams = [] {
    std::array<ngram_facts, static_cast<std::size_t>(derived::ngram_tables(D))> own{};
    std::size_t k = 0;
    derived::for_each_ngram_table(D, [&](const ngram_facts& table) { own[k++] = table; });
    return own;
  }();
  static constexpr int longest_ngram = [] {
    int longest = 1;
    for (const ngram_facts& table : ngrams) longest = std::max(longest, table.length);
    return longest;
  }();
  /// Positions of a pass over [batch, tokens] that look up a row, of all tables together.
  static constexpr index_type ngram_places(index_type batch, index_type tokens) {
    index_type places = 0;
    for (const ngram_facts& table : ngrams) places += batch * table.positions(tokens);
    return places;
  }
  static constexpr model_facts model{std::span<const level_facts>(levels), vocabulary, embedding_dim, max_length};
  /// What a merge sees: levels that follow the text show at every token the newest position.
  static constexpr std::array<level_facts, level_count> merged_levels = [] {
    std::array<level_facts, level_count> own = levels;
    for (level_facts& each : own)
      if (each.ragged) each.stride = 1;
    return own;
  }();
  static constexpr model_facts merged_model{std::span<const level_facts>(merged_levels), vocabulary, embedding_dim,
                                            max_length};
  static constexpr level_facts predicting = levels[predicting_level];
  static constexpr int logits_dim = logits_from_all ? concatenated_dim : predicting.dim;
  /// Tokens that the longest convolution or linear map reads.
  static constexpr int largest_compression = [] {
    int largest = 1;
    for (const level_facts& each : levels)
      if (!each.pools && each.compression > largest) largest = each.compression;
    return largest;
  }();
};

}  // namespace strata

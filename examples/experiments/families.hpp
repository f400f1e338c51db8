// Families of models, each in the same sizes: depth grows with width. For the question at which budget hierarchy pays.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "configurations.hpp"
#include "runs.hpp"

namespace experiments {

/// The width of the bytes' level and the layers of a flat model.
struct family_size {
  int dim, layers;
};
inline constexpr std::array<family_size, 7> family_sizes{
    {{32, 2}, {64, 2}, {96, 3}, {128, 4}, {192, 6}, {256, 8}, {384, 12}}};

/// One level of bytes.
constexpr strata::level bytes(int dim, int window) {
  return {.dim = dim, .heads = dim / 32, .head_dim = 32, .window = window};
}
/// A level inside another one.
constexpr strata::level inner(int compression, int dim, int window) {
  return {.compression = compression,
          .stride = compression,
          .dim = dim,
          .heads = dim / 32,
          .head_dim = 32,
          .window = window};
}
/// Layers of bytes around the inner levels of an hourglass: a third of all, on either side.
constexpr int outer_layers(const family_size& size) { return size.layers < 4 ? 1 : size.layers / 3; }
/// The inner level is half as wide again, to a multiple of 32.
constexpr int inner_dim(int dim) { return (dim * 3 / 2 + 31) / 32 * 32; }

constexpr strata::description of_length_2048(int depth, strata::level_list levels) {
  return {.max_length = 2048, .depth = depth, .levels = levels};
}

/// How many of the sizes a family has.
struct every_size {
  using losses = strata::losses<>;
  static constexpr int sizes = static_cast<int>(family_sizes.size());
};
struct up_to_192 {
  using losses = strata::losses<>;
  static constexpr int sizes = 5;
};

struct full : every_size {
  static constexpr const char* name = "full";
  static constexpr const char* description = "One level that attends to everything before.";
  static constexpr strata::description model(const family_size& size) {
    return of_length_2048(size.layers, {bytes(size.dim, strata::full_attention)});
  }
};
struct window : every_size {
  static constexpr const char* name = "window";
  static constexpr const char* description = "One level that attends to the 256 bytes before.";
  static constexpr strata::description model(const family_size& size) {
    return of_length_2048(size.layers, {bytes(size.dim, 256)});
  }
};
struct side_by_side : every_size {
  static constexpr const char* name = "side_by_side";
  static constexpr const char* description =
      "Bytes that attend to the 64 before, beside one position for every 4 bytes; merged after every layer.";
  static constexpr strata::description model(const family_size& size) {
    return of_length_2048(size.layers, {bytes(size.dim, 64), inner(4, size.dim, 256)});
  }
};
struct fixed_stride : every_size {
  static constexpr const char* name = "fixed_stride";
  static constexpr const char* description = "An hourglass with one inner position for every 4 bytes.";
  static constexpr strata::description model(const family_size& size) {
    strata::level outer = bytes(size.dim, 256);
    outer.before = outer.after = outer_layers(size);
    return of_length_2048(2 * outer_layers(size) + size.layers, {outer, inner(4, inner_dim(size.dim), 256)});
  }
};
struct word_starts : every_size {
  static constexpr const char* name = "word_starts";
  static constexpr const char* description = "An hourglass with one inner position for every word.";
  static constexpr strata::description model(const family_size& size) {
    strata::description own = fixed_stride::model(size);
    own.levels[1].boundaries = strata::boundaries::word_starts;
    return own;
  }
};
struct words_of_words : every_size {
  static constexpr const char* name = "words_of_words";
  static constexpr const char* description = "Bytes, inside them words, inside these one position for every 4 words.";
  static constexpr strata::description model(const family_size& size) {
    strata::level outer = bytes(size.dim, 256), words = inner(4, inner_dim(size.dim), 256);
    outer.before = outer.after = words.before = words.after = outer_layers(size);
    words.boundaries = strata::boundaries::word_starts;
    return of_length_2048(4 * outer_layers(size) + size.layers, {outer, words, inner(16, 2 * size.dim, 128)});
  }
};

struct learned : every_size {
  using losses = strata::losses<strata::boundary_ratio_loss>;
  static constexpr const char* name = "learned";
  static constexpr const char* description =
      "An hourglass that decides where its inner positions begin, about 4 bytes apart.";
  static constexpr strata::description model(const family_size& size) {
    strata::description own = fixed_stride::model(size);
    own.levels[1].boundaries = strata::boundaries::learned;
    own.levels[1].compressor = strata::compressor_kind::padding;
    return own;
  }
};

// Other ways down to words and up from them, and tables of n-grams.
struct words_padded : up_to_192 {
  static constexpr const char* name = "words_padded";
  static constexpr const char* description = "word_starts whose words are the bytes' rows with a learned vector.";
  static constexpr strata::description model(const family_size& size) {
    return strata::with(word_starts::model(size),
                        [](auto& d) { d.levels[1].compressor = strata::compressor_kind::padding; });
  }
};
struct words_at_boundaries : up_to_192 {
  static constexpr const char* name = "words_at_boundaries";
  static constexpr const char* description = "word_starts that adds words to the first byte after them alone.";
  static constexpr strata::description model(const family_size& size) {
    return strata::with(word_starts::model(size),
                        [](auto& d) { d.levels[1].upsampling = strata::upsampling_kind::at_boundaries; });
  }
};
struct words_by_offset : up_to_192 {
  static constexpr const char* name = "words_by_offset";
  static constexpr const char* description =
      "word_starts with a map of its own for each of the first 15 bytes of a word.";
  static constexpr strata::description model(const family_size& size) {
    return strata::with(word_starts::model(size),
                        [](auto& d) { d.levels[1].upsampling = strata::upsampling_kind::by_offset; });
  }
};
template <class Family>
struct with_ngrams : up_to_192 {
  static constexpr strata::description model(const family_size& size) {
    return strata::with(Family::model(size), [](auto& d) {
      d.ngrams = {{.length = 2}, {.length = 3, .rows = 131072}};
    });
  }
};
struct window_ngrams : with_ngrams<window> {
  static constexpr const char* name = "window_ngrams";
  static constexpr const char* description = "window with tables of pairs and of 131072 hashed triples.";
};
struct word_starts_ngrams : with_ngrams<word_starts> {
  static constexpr const char* name = "word_starts_ngrams";
  static constexpr const char* description = "word_starts with tables of pairs and of 131072 hashed triples.";
};

template <class... Family>
struct family_list {};
using families = family_list<full, window, side_by_side, fixed_stride, word_starts, words_of_words, learned,
                             words_padded, words_at_boundaries, words_by_offset, window_ngrams, word_starts_ngrams>;

/// A family in one of the sizes.
template <class Family, int Number>
struct member : next_byte_alone {
  using losses = typename Family::losses;
  static inline const std::string name = std::string(Family::name) + '_' + std::to_string(family_sizes[Number].dim);
  static constexpr const char* description = Family::description;
  static constexpr strata::description model = Family::model(family_sizes[Number]);
};

/// Defined in family.cpp.
template <class Family>
std::vector<configuration> sizes_of();

}  // namespace experiments

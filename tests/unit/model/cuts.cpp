// Boundaries that follow the text: where positions begin, and what a model with them computes.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <strata/reference.hpp>

#include "support/catch.hpp"
#include "support/generation.hpp"

namespace strata {
namespace {

std::vector<token> tokens_of(const std::string& text) {
  std::vector<token> ids;
  for (const char letter : text) ids.push_back(static_cast<unsigned char>(letter));
  return ids;
}

constexpr bool after_a(std::span<const token> last) { return last.size() == 2 && last[0] == 'a'; }

constexpr level word{.compression = 4,
                     .stride = 4,
                     .dim = 6,
                     .heads = 1,
                     .head_dim = 4,
                     .window = 2,
                     .boundaries = boundaries::word_starts};
constexpr level byte{.dim = 4, .heads = 1, .head_dim = 2, .window = 5, .before = 1, .after = 1};
constexpr description words{.vocabulary = 256, .max_length = 64, .depth = 4, .levels = {byte, word}};
constexpr description pairs_of_words{
    .vocabulary = 256,
    .max_length = 64,
    .depth = 6,
    .levels = {byte,
               {.compression = 4,
                .stride = 4,
                .dim = 6,
                .heads = 1,
                .head_dim = 4,
                .window = 2,
                .before = 1,
                .after = 1,
                .boundaries = boundaries::word_starts},
               {.compression = 8, .stride = 8, .dim = 8, .heads = 1, .head_dim = 4, .window = 2}}};

/// Words of pairs of bytes.
constexpr description words_of_pairs = with(pairs_of_words, [](auto& d) {
  d.levels[1].boundaries = boundaries::every_stride;
  d.levels[1].compression = d.levels[1].stride = 2;
  d.levels[2].boundaries = boundaries::word_starts;
});
/// Wider inner levels that pad, and the other ways up.
constexpr description padded = with(pairs_of_words, [](auto& d) {
  d.levels[1].compressor = d.levels[2].compressor = compressor_kind::padding;
  d.levels[1].upsampling = upsampling_kind::at_boundaries;
  d.levels[2].upsampling = upsampling_kind::by_offset;
});
constexpr description by_offsets = with(pairs_of_words, [](auto& d) {
  d.levels[1].dim = 4;
  d.levels[1].compressor = compressor_kind::padding;
  d.levels[1].upsampling = upsampling_kind::by_offset;
  d.levels[2].upsampling = upsampling_kind::at_boundaries;
});

/// Side by side: bytes, one position for every 2, one for every word, one for every line. All receive.
constexpr description beside{.vocabulary = 256,
                             .max_length = 64,
                             .depth = 2,
                             .levels = {{.dim = 4, .heads = 1, .head_dim = 2, .window = 5},
                                        {.compression = 2, .dim = 6, .heads = 1, .head_dim = 4, .window = 2},
                                        {.compression = 4,
                                         .stride = 4,
                                         .dim = 6,
                                         .heads = 1,
                                         .head_dim = 4,
                                         .window = 2,
                                         .boundaries = boundaries::word_starts},
                                        {.compression = 8,
                                         .stride = 8,
                                         .dim = 8,
                                         .heads = 1,
                                         .head_dim = 4,
                                         .window = full_attention,
                                         .boundaries = boundaries::lines}},
                             .receiving_levels = {every_level}};
constexpr description beside_bytes = with(beside, [](auto& d) { d.receiving_levels = {the_predicting_level}; });
constexpr auto beside_shifted = with(with_merge(beside, level_shift{}), [](auto& d) {
  d.levels[0].dim = 8;
  d.token_shift = token_shift_kind::learned;
});
constexpr auto beside_separable = with(with_merge(beside, separable{}), [](auto& d) {
  for (int l = 0; l < 4; ++l) d.levels[l].dim = 6;
});

/// The tokens at which positions of a level begin.
std::vector<index_type> begins(const level_facts& level, const std::string& text, const text_cuts& finer) {
  return cut(level, tokens_of(text), finer).tokens;
}
std::vector<index_type> begins(const level_facts& level, const std::string& text) {
  return begins(level, text, positions_by_stride({}, static_cast<index_type>(text.size())));
}
level_facts by(const boundary_rule& rule) {
  level_facts own;
  own.rule = &rule;
  return own;
}

}  // namespace

TEST_CASE("positions begin where the rule says, and at the start of a text") {
  using list = std::vector<index_type>;
  CHECK(begins(by(boundaries::word_starts), "ab cd, e") == list{0, 2, 5});
  CHECK(begins(by(boundaries::word_starts), "  ab\xc3\xa4 9.") == list{0, 6, 8});
  CHECK(begins(by(boundaries::lines), "ab\n\ncd\ne") == list{0, 3, 4, 7});
  CHECK(begins(by(boundary_rule{"mine", after_a, 2}), "banana") == list{0, 2, 4});
  level_facts every;
  every.source_stride = 3;
  CHECK(begins(every, "abcdefgh") == list{0, 3, 6});
}

TEST_CASE("positions of a coarser level begin at those of the finer one") {
  using list = std::vector<index_type>;
  const text_cuts of_words = cut(by(boundaries::word_starts), tokens_of("a b c\nd e\nf"), positions_by_stride({}, 11));
  CHECK(of_words.tokens == list{0, 1, 3, 5, 7, 9});
  // A line begins at 6 and at 10: the next words begin at 7 and, after 10, nowhere.
  CHECK(begins(by(boundaries::lines), "a b c\nd e\nf", of_words) == list{0, 7});
  level_facts second;
  second.source_stride = 2;
  const text_cuts pairs = cut(second, tokens_of("a b c\nd e\nf"), of_words);
  CHECK(pairs.source == list{0, 2, 4});
  CHECK(pairs.tokens == list{0, 3, 7});
  // Pairs of bytes, at 0, 2, 4 ..: a line that begins between two of them begins a position at the next.
  level_facts strided;
  strided.stride = 2;
  CHECK(begins(by(boundaries::lines), "a b c\nd e\nf", positions_by_stride(strided, 11)) == list{0, 6, 10});
  CHECK(begins(by(boundaries::lines), "ab\nc d\nef", positions_by_stride(strided, 9)) == list{0, 4, 8});
}

TEST_CASE("texts are cut at their own places, and their positions lie one after another") {
  reference<float> backend;
  level_cuts<pairs_of_words, reference<float>> cuts;
  const std::vector<token> ids = [] {
    auto all = tokens_of("one two three");
    for (const token id : tokens_of("a b c d e f g")) all.push_back(id);
    return all;
  }();
  cuts.find(backend, {ids.data(), {2, 13}});
  CHECK(cuts.shapes() == stream_shapes<pairs_of_words>{{{2, 13, 13}, {1, 3 + 7, 8}, {1, 2 + 4, 4}}});
  const auto list = [](const view<const token, 1>& own) { return std::vector<token>(own.data, own.data + own.size()); };
  CHECK(list(cuts.views()[1].starts) == std::vector<token>{0, 3, 7, 13, 14, 16, 18, 20, 22, 24});
  CHECK(list(cuts.views()[1].newest).front() == 0);
  CHECK(list(cuts.views()[1].newest)[13] == 3);
  CHECK(list(cuts.views()[1].newest).back() == 9);
  CHECK(list(cuts.views()[2].starts) == std::vector<token>{0, 2, 3, 5, 7, 9});
  CHECK(list(cuts.views()[2].newest) == std::vector<token>{0, 0, 1, 2, 2, 3, 3, 4, 4, 5});
}

TEST_CASE("a text's logits do not depend on the texts beside it") {
  reference<double> backend;
  transformer<pairs_of_words, reference<double>, losses<>> model(backend, 3);
  const auto one = tokens_of("one two three"), other = tokens_of("a b c d e f g");
  auto both = one;
  both.insert(both.end(), other.begin(), other.end());
  const auto together = model.forward({both.data(), {2, 13}});
  const std::vector<double> first(together.data, together.data + 13 * 256), second(first.size());
  const std::vector<double> rest(together.data + 13 * 256, together.data + 2 * 13 * 256);
  const auto alone = model.forward({one.data(), {1, 13}});
  CHECK(std::equal(first.begin(), first.end(), alone.data));
  const auto alone_too = model.forward({other.data(), {1, 13}});
  CHECK(std::equal(rest.begin(), rest.end(), alone_too.data));
}

TEST_CASE("no logit depends on a later byte, also where it changes the boundaries") {
  reference<double> backend;
  transformer<pairs_of_words, reference<double>, losses<>> model(backend, 3);
  const std::string text = "one two three, four";
  const auto ids = tokens_of(text);
  const auto length = static_cast<index_type>(ids.size());
  const auto logits = model.forward({ids.data(), {1, length}});
  const std::vector<double> whole(logits.data, logits.data + logits.size());
  for (index_type t = 0; t + 1 < length; ++t) {
    auto changed = ids;
    for (index_type later = t + 1; later < length; ++later)
      changed[static_cast<std::size_t>(later)] = later % 2 ? ' ' : 'x';
    const auto other = model.forward({changed.data(), {1, length}});
    CHECK(std::equal(whole.begin(), whole.begin() + (t + 1) * 256, other.data));
  }
}

TEST_CASE("gradients of a model whose boundaries follow the text are those of finite differences") {
  using B = reference<double>;
  B backend;
  const auto check = [&]<const auto & D>() {
    transformer<D, B, losses<>> model(backend, 5);
    std::vector<token> ids = tokens_of("the cat\nsat. on, a mat");
    for (const token id : tokens_of("aaaaaaa b b\nb b b b b ")) ids.push_back(id);
    const view<const token, 2> batch{ids.data(), {2, 22}};
    model.clear_gradients();
    model.accumulate_gradients(batch);
    const auto weights = model.weights();
    double worst = 0;
    for (const parameter_entry& entry : parameters<D, losses<>>::entries()) {
      if (entry.kind == parameter_kind::constant) continue;
      const auto gradient = model.gradient_of(entry);
      for (const index_type n : {index_type{0}, entry.size / 2, entry.size - 1}) {
        double& own = weights(entry.offset + n);
        const double kept = own, h = 1e-5;
        own = kept + h;
        const double up = model.losses(batch).total;
        own = kept - h;
        const double down = model.losses(batch).total;
        own = kept;
        worst = std::max(worst, std::abs((up - down) / (2 * h) - gradient[static_cast<std::size_t>(n)]));
      }
    }
    return worst;
  };
  CHECK(check.template operator()<words>() < 1e-7);
  CHECK(check.template operator()<pairs_of_words>() < 1e-7);
  CHECK(check.template operator()<words_of_pairs>() < 1e-7);
  CHECK(check.template operator()<beside>() < 1e-7);
  CHECK(check.template operator()<beside_bytes>() < 1e-7);
  CHECK(check.template operator()<beside_shifted>() < 1e-7);
  CHECK(check.template operator()<beside_separable>() < 1e-7);
  CHECK(check.template operator()<padded>() < 1e-7);
  CHECK(check.template operator()<by_offsets>() < 1e-7);
}

TEST_CASE("a generator gives the logits of the whole pass, whatever the texts beside it") {
  using B = reference<double>;
  B backend;
  const auto worst_difference = [&]<const auto & D>(index_type prompt, bool merge) {
    transformer<D, B, losses<>> model(backend, 7);
    std::vector<token> ids = tokens_of("the cat\nsat. on, a mat");
    for (const token id : tokens_of("aaaaaaa b b\nb b b b b ")) ids.push_back(id);
    return worst_difference_of_generator(model, ids, prompt, merge);
  };
  for (const bool merge : {true, false})
    for (const index_type prompt : {0, 2, 5, 9, 14, 21}) {
      CAPTURE(merge, prompt);
      CHECK(worst_difference.template operator()<words>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<words_of_pairs>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<beside>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<beside_bytes>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<beside_shifted>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<beside_separable>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<padded>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<by_offsets>(prompt, merge) < 1e-12);
      CHECK(worst_difference.template operator()<pairs_of_words>(prompt, merge) < 1e-12);
    }
}

TEST_CASE("rules see tokens of the vocabulary alone, and nothing begins after the end of a row") {
  static std::vector<token> seen;
  static constexpr boundary_rule watching{"watching", [](std::span<const token> last) {
                                            seen.push_back(last.back());
                                            return last.back() == 3;
                                          }};
  static constexpr description watched = with(words, [](auto& d) {
    d.vocabulary = 11;
    d.levels[1].boundaries = watching;
  });
  reference<double> backend;
  transformer<watched, reference<double>, losses<>> model(backend, 1);
  const std::vector<token> wrong{1, 3, 11, 2};
  CHECK_THROWS_AS(model.forward({wrong.data(), {1, 4}}), error);
  CHECK(seen.empty());
  const std::vector<token> short_row{1, 3, 2, 3, no_token, no_token, no_token};
  const double loss = model.losses({short_row.data(), {1, 7}}).total;
  CHECK(seen == std::vector<token>{1, 3, 2, 3});
  CHECK(model.starts(1) == std::vector<index_type>{0, 1, 3});
  CHECK_THROWS_AS(model.starts(1, 1), error);
  CHECK(loss == Approx(model.losses({short_row.data(), {1, 4}}).total).epsilon(1e-12));
  CHECK_THROWS_AS(model.starts(2), error);
  transformer<watched, reference<double>, losses<>> fresh(backend, 1);
  fresh.reserve(1, 4);
  CHECK_THROWS_AS(fresh.starts(1), error);
}

}  // namespace strata

// The rows of n-grams: files rely on these numbers.
#include <array>
#include <vector>

#include <strata/config/description.hpp>
#include <strata/config/facts.hpp>
#include <strata/layers/ngrams.hpp>

#include "support/catch.hpp"

using strata::index_type, strata::ngram_facts, strata::token;

namespace of_ngrams {

constexpr strata::description tables{
    .vocabulary = 10,
    .max_length = 64,
    .levels = {{.compression = 4, .stride = 2, .dim = 24, .ngrams = {{.length = 4, .rows = 5000}, {.length = 3}}},
               {.dim = 8, .ngrams = {{.rows = 100}, {.length = 16, .rows = 7}}}},
    .ngrams = {{.length = 2}, {.length = 3, .rows = 999}, {.length = 3, .rows = 1001}}};

std::vector<token> rows(const ngram_facts& table, std::vector<token> ids, index_type first, index_type count) {
  std::vector<token> found(static_cast<std::size_t>(count), 77);
  strata::find_ngram_rows(table, 10, ids, first, found);
  return found;
}

}  // namespace of_ngrams

TEST_CASE("the step of the hash is that of SplitMix64") {
  // The published generator, with the state 1234567 and the two after it.
  STATIC_REQUIRE(strata::mixed_bits(1234567) == 6457827717110365317u);
  STATIC_REQUIRE(strata::mixed_bits(1234567 + 0x9E3779B97F4A7C15u) == 3203168211198807973u);
  STATIC_REQUIRE(strata::mixed_bits(1234567 + 2 * 0x9E3779B97F4A7C15u) == 9817491932198370423u);
}

TEST_CASE("tables have the rows, widths and places of their description") {
  constexpr auto all = strata::facts<of_ngrams::tables>::ngrams;
  STATIC_REQUIRE(all.size() == 7);
  STATIC_REQUIRE(strata::facts<of_ngrams::tables>::longest_ngram == 16);
  const auto check = [](const ngram_facts& own, int length, index_type rows, bool exact, int level, int stride,
                        int dim) {
    CHECK(own.length == length);
    CHECK(own.rows == rows);
    CHECK(own.exact == exact);
    CHECK(own.level == level);
    CHECK(own.stride == stride);
    CHECK(own.dim == dim);
  };
  check(all[0], 2, 100, true, -1, 1, 24);
  check(all[1], 3, 999, false, -1, 1, 24);
  check(all[2], 3, 1000, true, -1, 1, 24);  // more rows than n-grams
  check(all[3], 4, 5000, false, 0, 2, 24);
  check(all[4], 3, 1000, true, 0, 2, 24);
  check(all[5], 2, 100, true, 1, 1, 8);
  check(all[6], 16, 7, false, 1, 1, 8);
}

TEST_CASE("an exact table has a row for each n-gram, in order") {
  constexpr ngram_facts triples{.length = 3, .rows = 1000, .exact = true};
  constexpr std::array<token, 3> ids{4, 0, 9};
  STATIC_REQUIRE(strata::ngram_row(triples, 10, ids) == 409);
}

// Computed by a program of its own, from the formula in docs/files.md.
TEST_CASE("the rows of a hashed table are those of the files") {
  const auto row = [](int rows, const std::vector<token>& ids) {
    return strata::ngram_row({.length = static_cast<int>(ids.size()), .rows = rows, .exact = false}, 256, ids);
  };
  CHECK(row(65536, {0, 0, 0}) == 48785);
  CHECK(row(65536, {116, 104, 101}) == 28459);
  CHECK(row(65536, {101, 104, 116}) == 49414);
  CHECK(row(1000003, {116, 104, 101}) == 723611);
  CHECK(row(65536, {32, 116, 104, 101}) == 1802);
}

TEST_CASE("a position without all tokens of its n-gram has no row") {
  using of_ngrams::rows;
  constexpr ngram_facts pairs{.length = 2, .rows = 100, .exact = true};
  CHECK(rows(pairs, {1, 2, 3, 4}, 0, 4) == std::vector<token>{-1, 12, 23, 34});
  CHECK(rows(pairs, {1, -1, 3, 4}, 0, 4) == std::vector<token>{-1, -1, -1, 34});
  CHECK(rows(pairs, {1, 2, 3, 4}, 3, 1) == std::vector<token>{34});
  constexpr ngram_facts strided{.length = 3, .rows = 1000, .exact = true, .stride = 2};
  CHECK(rows(strided, {1, 2, 3, 4, 5, 6}, 0, 3) == std::vector<token>{-1, 123, 345});
}

// Tokens in files: bytes and numbers, with llm.c's header or without; files that do not fit, and files larger than
// memory.
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <vector>

#include <strata/data/rows.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/sanitizers.hpp"
#include "unit/io/scratch_directory.hpp"

namespace {

using strata::index_type, strata::token, strata::token_file, strata::token_format;

template <class Number>
std::string bytes_of_numbers(const std::vector<Number>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), sizeof(Number) * numbers.size()};
}
std::string header_of(std::int32_t mark, std::int32_t version, std::int32_t count) {
  std::vector<std::int32_t> numbers(256);
  numbers[0] = mark, numbers[1] = version, numbers[2] = count;
  return bytes_of_numbers(numbers);
}
std::vector<token> all_of(const token_file& file, int vocabulary = 1 << 20) {
  std::vector<token> ids(static_cast<std::size_t>(file.size()));
  file.copy(0, ids, vocabulary);
  return ids;
}

}  // namespace

TEST_CASE("tokens are bytes or numbers of 16 or 32 bits") {
  const scratch_directory directory;
  write_plainly(directory / "text", "abc\xff");
  CHECK(all_of({directory / "text", token_format::bytes}) == std::vector<token>{'a', 'b', 'c', 255});
  write_plainly(directory / "16", bytes_of_numbers<std::uint16_t>({7, 65535, 3}));
  CHECK(all_of({directory / "16", token_format::uint16}) == std::vector<token>{7, 65535, 3});
  write_plainly(directory / "32", bytes_of_numbers<std::uint32_t>({7, 70000}));
  CHECK(all_of({directory / "32", token_format::uint32}) == std::vector<token>{7, 70000});
  // More than one read.
  std::vector<std::uint16_t> many(5000);
  for (std::size_t n = 0; n < many.size(); ++n) many[n] = static_cast<std::uint16_t>(n);
  write_plainly(directory / "many", bytes_of_numbers(many));
  const token_file file(directory / "many", token_format::uint16);
  std::vector<token> ids(4100);
  file.copy(900, ids, 5000);
  CHECK((ids.front() == 900 && ids[2048] == 2948 && ids.back() == 4999));
}

TEST_CASE("the header of llm.c is recognised and checked") {
  const scratch_directory directory;
  const std::string two = bytes_of_numbers<std::uint16_t>({5, 6});
  write_plainly(directory / "own", header_of(20240520, 1, 2) + two);
  CHECK(all_of({directory / "own", token_format::uint16}) == std::vector<token>{5, 6});
  write_plainly(directory / "wide", header_of(20240801, 7, 1) + bytes_of_numbers<std::uint32_t>({100000}));
  CHECK(all_of({directory / "wide", token_format::uint32}) == std::vector<token>{100000});
  const auto problem = [&](const std::string& content, token_format format) {
    write_plainly(directory / "wrong", content);
    return message_of([&] { token_file(directory / "wrong", format); });
  };
  CHECK(missing_in(problem(header_of(20240520, 1, 3) + two, token_format::uint16),
                   {"wrong\": its header counts 3 tokens, but 2 follow"}) == "");
  CHECK(missing_in(problem(header_of(20240520, 2, 2) + two, token_format::uint16),
                   {"its header has version 2; known is 1"}) == "");
  CHECK(missing_in(problem(header_of(20240520, 1, 1) + two, token_format::uint32),
                   {"its header says uint16 tokens, not uint32"}) == "");
  CHECK(missing_in(problem(header_of(20240520, 1, 0), token_format::uint16), {"the text is empty"}) == "");
}

TEST_CASE("a file that does not fit is named") {
  const scratch_directory directory;
  write_plainly(directory / "odd", "abc");
  CHECK(missing_in(message_of([&] { token_file(directory / "odd", token_format::uint16); }),
                   {"odd\": its 3 bytes are no whole number of uint16 tokens"}) == "");
  write_plainly(directory / "empty", "");
  CHECK(missing_in(message_of([&] { token_file(directory / "empty", token_format::bytes); }),
                   {"empty\": the text is empty"}) == "");
  write_plainly(directory / "large", bytes_of_numbers<std::uint16_t>({1, 2, 300, 4}));
  const token_file large(directory / "large", token_format::uint16);
  CHECK(missing_in(message_of([&] { all_of(large, 256); }),
                   {"large\": token 2, at byte 4, is 300, outside of the vocabulary of 256"}) == "");
  std::vector<token> two(2);
  large.copy(0, two, 256);
  CHECK(two == std::vector<token>{1, 2});
  CHECK(missing_in(message_of([&] { large.copy(3, two, 256); }), {"tokens 3 to 5 are not in a file of 4"}) == "");
  // A file that became shorter since it was opened.
  std::filesystem::resize_file(directory / "large", 5);
  CHECK(missing_in(message_of([&] { large.copy(1, two, 301); }), {"large\": it ends after 5 of 8 bytes"}) == "");
}

TEST_CASE("a file of 20 GB needs no memory") {
  const scratch_directory directory;
  constexpr std::uint64_t size = std::uint64_t{20} << 30;
  write_plainly(directory / "sparse", "text");
  std::error_code problem;
  std::filesystem::resize_file(directory / "sparse", size, problem);
  if (problem) return;  // the file system has no sparse files
  rlimit old{};
  ::getrlimit(RLIMIT_AS, &old);
#if !STRATA_TEST_SANITIZER  // it needs much more
  const rlimit limit{std::uint64_t{8} << 30, old.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_AS, &limit) == 0);
#endif
  {
    const strata::corpus all({directory / "sparse"});
    CHECK(all.size() == static_cast<index_type>(size));
    const auto [training, validation] = strata::split_at_end(all, 0.1);
    const strata::random_rows rows(training, 1);
    std::vector<token> ids(513, 1);
    for (index_type row = 0; row < 100; ++row) rows.fill(0, row, ids);
    CHECK(ids == std::vector<token>(513, 0));
    const strata::corpus_windows windows(validation, 512);
    windows.copy(windows.count() - 1, ids);
    CHECK(windows.count() > 4'000'000);
  }
  ::setrlimit(RLIMIT_AS, &old);
}

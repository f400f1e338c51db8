// The split of a text, the windows cut from it, and its entropy.
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <strata/data/text.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"
#include "unit/io/scratch_directory.hpp"

namespace {

std::vector<std::uint8_t> counting(std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  for (std::size_t at = 0; at < size; ++at) bytes[at] = static_cast<std::uint8_t>(at);
  return bytes;
}

strata::text text_of(const std::string& content, double validation_fraction) {
  strata::buffer<std::byte> bytes(static_cast<strata::index_type>(content.size()));
  if (!content.empty()) std::memcpy(bytes.data(), content.data(), content.size());
  return {std::move(bytes), validation_fraction, "\"some.txt\""};
}

}  // namespace

TEST_CASE("the last fraction of a text is for validation") {
  const scratch_directory directory;
  std::string content(1000, ' ');
  for (std::size_t at = 0; at < content.size(); ++at) content[at] = static_cast<char>(at * 7);
  write_plainly(directory / "text", content);
  const auto text = strata::text::load(directory / "text", 0.1);
  REQUIRE(text.all().size() == 1000);
  CHECK(std::memcmp(text.all().data(), content.data(), 1000) == 0);
  CHECK(text.training().size() == 900);
  CHECK(text.training().data() == text.all().data());
  CHECK(text.validation().size() == 100);
  CHECK(text.validation().data() == text.all().data() + 900);

  CHECK(text_of("abc", 0).training().size() == 3);
  CHECK(text_of("abc", 0).validation().empty());
  CHECK(text_of("abc", 0.5).training().size() == 1);
  CHECK(text_of("abc", 0.5).validation()[1] == 'c');
}

TEST_CASE("a wrong text is named with the reason") {
  const scratch_directory directory;
  const auto loading = [](const std::filesystem::path& path) {
    return message_of([&] { strata::text::load(path, 0.1); });
  };
  CHECK(missing_in(loading(directory / "absent"), {"absent\"", std::strerror(ENOENT)}) == "");
  CHECK(missing_in(loading(directory.path()), {directory.path().string(), "it is a directory"}) == "");
  write_plainly(directory / "empty", "");
  CHECK(missing_in(loading(directory / "empty"), {(directory / "empty").string(), "the text is empty"}) == "");

  for (const double fraction : {-0.1, 1.0, 2.0, std::nan("")})
    CHECK(missing_in(message_of([&] { text_of("abc", fraction); }), {"validation fraction", "is not in [0, 1)"}) == "");
  CHECK(missing_in(message_of([] { text_of("abc", 1.5); }), {"fraction 1.5"}) == "");
}

TEST_CASE("a text too short for the sequence length says what it has and what it needs") {
  const auto message = [](std::size_t size, double fraction, strata::index_type length) {
    return message_of([&] { text_of(std::string(size, 'x'), fraction).require_length(length); });
  };
  CHECK(missing_in(message(90, 0.1, 81), {"\"some.txt\"", "training part", "has 81 bytes", "length 81", "needs 82"}) ==
        "");
  CHECK(missing_in(message(1000, 0.1, 100), {"validation part", "has 100 bytes", "length 100", "needs 101"}) == "");
  CHECK(message(1000, 0.1, 99) == "(no strata::error was thrown)");
  CHECK(message(101, 0, 100) == "(no strata::error was thrown)");
  CHECK(missing_in(message(100, 0, 100), {"training part", "has 100 bytes", "needs 101"}) == "");
  CHECK(missing_in(message(100, 0, std::numeric_limits<strata::index_type>::max()), {"needs 9223372036854775808"}) ==
        "");
}

TEST_CASE("a text that was moved says so") {
  auto text = text_of("abcd", 0.5);
  const auto moved = std::move(text);
  CHECK(moved.validation()[1] == 'd');
  for (const auto part : {&strata::text::all, &strata::text::training, &strata::text::validation})
    CHECK(missing_in(message_of([&] { (text.*part)(); }), {"this text was moved: another object holds its bytes"}) ==
          "");
  CHECK(missing_in(message_of([&] { text.require_length(1); }), {"this text was moved"}) == "");
}

TEST_CASE("a crop depends on seed, step and row alone") {
  const auto bytes = counting(100000);
  const strata::random_source source(7);
  std::vector<strata::token> ids(65), again(65);
  std::set<strata::index_type> starts;
  for (std::uint64_t step = 0; step < 20; ++step)
    for (std::uint32_t row = 0; row < 20; ++row) {
      const strata::index_type start = strata::crop(bytes, source, step, row, ids);
      REQUIRE(start >= 0);
      REQUIRE(start + 65 <= 100000);
      for (strata::index_type at = 0; at < 65; ++at) REQUIRE(ids[at] == (start + at) % 256);
      starts.insert(start);
    }
  // Twenty times twenty positions, a few equal by chance.
  CHECK(starts.size() > 390);

  const strata::index_type third = strata::crop(bytes, source, 3, 5, ids);
  strata::crop(bytes, source, 9, 0, again);
  CHECK(strata::crop(bytes, strata::random_source(7), 3, 5, again) == third);
  CHECK(ids == again);
  CHECK(strata::crop(bytes, source, 5, 3, again) != third);
  CHECK(strata::crop(bytes, strata::random_source(8), 3, 5, again) != third);
}

TEST_CASE("every place of a text can be cropped, about equally often") {
  const auto bytes = counting(14);
  std::vector<strata::token> ids(5);
  std::map<strata::index_type, int> counts;
  for (std::uint64_t step = 0; step < 10000; ++step)
    ++counts[strata::crop(bytes, strata::random_source(1), step, 0, ids)];
  REQUIRE(counts.size() == 10);
  CHECK(counts.begin()->first == 0);
  CHECK(counts.rbegin()->first == 9);
  for (const auto& [start, count] : counts) {
    CHECK(count > 850);
    CHECK(count < 1150);
  }
}

TEST_CASE("a text of exactly one window has one crop, a shorter one none") {
  std::vector<strata::token> ids(5);
  CHECK(strata::crop(counting(5), strata::random_source(1), 2, 3, ids) == 0);
  CHECK(missing_in(message_of([&] { strata::crop(counting(4), strata::random_source(1), 0, 0, ids); }),
                   {"text of 4 bytes", "one window of 5"}) == "");
  ids.resize(1);
  CHECK(missing_in(message_of([&] { strata::crop(counting(4), strata::random_source(1), 0, 0, ids); }),
                   {"window of 1"}) == "");
}

TEST_CASE("bytes above 127 become ids above 127") {
  const std::vector<std::uint8_t> bytes{200, 255, 128};
  std::vector<strata::token> ids(3);
  strata::crop(bytes, strata::random_source(1), 0, 0, ids);
  CHECK(ids == std::vector<strata::token>{200, 255, 128});
}

TEST_CASE("validation windows follow each other and leave out only the incomplete one") {
  for (const std::size_t size : {5u, 9u, 10u, 23u, 24u, 25u}) {
    const auto bytes = counting(size);
    const strata::window_sequence windows(bytes, 4);
    REQUIRE(windows.count() == static_cast<strata::index_type>((size - 1) / 4));
    std::vector<strata::token> ids(5);
    for (strata::index_type window = 0; window < windows.count(); ++window) {
      windows.copy(window, ids);
      for (strata::index_type at = 0; at < 5; ++at) CHECK(ids[at] == window * 4 + at);
    }
  }
}

TEST_CASE("wrong windows are refused") {
  const auto bytes = counting(12);
  CHECK(missing_in(message_of([&] { strata::window_sequence(bytes, 12); }), {"12 bytes", "window of 13"}) == "");
  for (const strata::index_type length : {0, -1, -2, -100})
    CHECK(missing_in(message_of([&] { strata::window_sequence(bytes, length); }),
                     {"length of " + std::to_string(length), "not positive"}) == "");
  const strata::window_sequence windows(bytes, 4);
  std::vector<strata::token> ids(5);
  CHECK(missing_in(message_of([&] { windows.copy(2, ids); }), {"window 2 of 2"}) == "");
  CHECK(missing_in(message_of([&] { windows.copy(-1, ids); }), {"window -1 of 2"}) == "");
  ids.resize(4);
  CHECK(missing_in(message_of([&] { windows.copy(0, ids); }), {"5 bytes", "4 ids"}) == "");
}

TEST_CASE("order-0 entropy of known frequencies") {
  const auto entropy = [](const std::vector<std::uint8_t>& bytes) { return strata::order0_entropy(bytes); };
  CHECK(entropy(std::vector<std::uint8_t>(100, 'x')) == 0);
  CHECK(!std::signbit(entropy({'x'})));
  CHECK(entropy({0, 255}) == 1);
  CHECK(entropy({1, 2, 3, 4, 4, 3, 2, 1}) == 2);
  CHECK(std::abs(entropy({1, 1, 1, 2}) - 0.8112781244591328) < 1e-15);
  CHECK(std::abs(entropy(counting(256)) - 8) < 1e-12);
  CHECK(missing_in(message_of([&] { entropy({}); }), {"empty"}) == "");
}

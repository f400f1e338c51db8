// Buffers: aligned, zeroed, owned once.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <strata/core/buffer.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"

using strata::buffer;

namespace {

std::uintptr_t address(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

}  // namespace

TEST_CASE("buffer: aligned and zeroed, even in memory that was used before") {
  for (const strata::index_type count : {1, 15, 16, 1000, 524287, 524288, 600001}) {
    CAPTURE(count);
    for (int round = 0; round < 2; ++round) {
      buffer<float> numbers(count);
      CHECK(numbers.size() == count);
      CHECK(address(numbers.data()) % 64 == 0);
      if (count * 4 >= 2 << 20) CHECK(address(numbers.data()) % (2 << 20) == 0);
      CHECK(std::all_of(numbers.data(), numbers.data() + count, [](float number) { return number == 0; }));
      std::fill_n(numbers.data(), count, 7.f);
    }
  }
}

TEST_CASE("buffer: empty") {
  buffer<float> none, zero(0);
  CHECK(none.size() == 0);
  CHECK(none.data() == nullptr);
  CHECK(zero.size() == 0);
  CHECK_FALSE(zero.view());
}

TEST_CASE("buffer: moving hands over the memory") {
  buffer<int> first(5);
  first.data()[3] = 42;
  const int* memory = first.data();
  buffer<int> second(std::move(first));
  CHECK(second.data() == memory);
  CHECK(second.size() == 5);
  CHECK(first.data() == nullptr);  // NOLINT: what is left after a move is part of the contract
  CHECK(first.size() == 0);
  buffer<int> third(2);
  third = std::move(second);
  CHECK(third.data() == memory);
  CHECK(third.view()(3) == 42);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<buffer<int>>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<buffer<int>>);
}

TEST_CASE("buffer: a view of it") {
  buffer<int> numbers(6);
  numbers.view()(5) = 9;
  CHECK(numbers.data()[5] == 9);
  const buffer<int>& constant = numbers;
  CHECK(constant.view().shape[0] == 6);
  STATIC_REQUIRE(std::is_same_v<decltype(constant.view()), strata::view<const int, 1>>);
}

TEST_CASE("buffer: more memory than there is") {
  const auto asking = [](strata::index_type count) { return message_of([&] { buffer<double> asked(count); }); };
  CHECK(asking(strata::index_type{1} << 58) ==
        "2305843009213693952 bytes of memory were asked for, more than there is");
  // Their size in bytes would be 0, 8 and 2^63 - 8 in 64 bits.
  const std::string too_many = " elements of 8 bytes were asked for, more than a memory can hold";
  CHECK(asking(strata::index_type{1} << 61) == "2305843009213693952" + too_many);
  CHECK(asking((strata::index_type{1} << 61) + 1) == "2305843009213693953" + too_many);
  CHECK(asking((strata::index_type{1} << 60) - 1).find("were asked for, more than there is") != std::string::npos);
  CHECK(asking(std::numeric_limits<strata::index_type>::max()) == "9223372036854775807" + too_many);
  CHECK(asking(-1) == "a buffer of -1 elements");
}

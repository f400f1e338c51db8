// Buffers: aligned, zeroed, owned once.
#include <algorithm>
#include <cstdint>
#include <utility>

#include <strata/core/buffer.hpp>

#include "support/catch.hpp"

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
  CHECK_THROWS_AS(buffer<double>(strata::index_type{1} << 58), std::bad_alloc);
}

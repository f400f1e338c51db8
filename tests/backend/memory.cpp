// upload, upload_tokens, download, fill, copy, add, mix.
#include "backend/setups.hpp"

namespace strata {

TEST_CASE("memory operations equal the reference, to the bit") {
  for (const index_type size : {1, 7, 1000, 40003}) {
    CAPTURE(size);
    check_against_reference(0, [&](auto& bench) {
      const auto x = bench.normal({size}), copied = bench.unset({size}), filled = bench.unset({size});
      copy(bench.backend, x, copied);
      fill(bench.backend, 0.375f, filled);
      bench.result("copy", copied);
      bench.result("fill", filled);
    });
    check_against_reference(1e-7, [&](auto& bench) {  // one rounding
      const auto x = bench.normal({size}), y = bench.normal({size});
      add(bench.backend, x, y);
      bench.result("add", y);
      mix(bench.backend, 0.375f, x, y);
      bench.result("mix", y);
    });
  }
}

TEST_CASE("what is uploaded comes back") {
  on_every_bench([](auto& bench) {
    std::vector<double> values(40003);
    for (std::size_t n = 0; n < values.size(); ++n) values[n] = static_cast<double>(n) / 8;
    CHECK(bench.read(bench.of(values, {40003})) == values);

    const std::vector<token> ids{3, -1, 255, 0, 66, 7, 9};
    CHECK(bench.read(bench.tokens_of(ids, {7})) == std::vector<double>(ids.begin(), ids.end()));
  });
}

TEST_CASE("fill, copy, add and mix: known values") {
  on_every_bench([](auto& bench) {
    const auto x = bench.of({1, 2, 3}, {3}), y = bench.unset({3});
    fill(bench.backend, 5.f, y);
    CHECK(bench.read(y) == std::vector<double>{5, 5, 5});
    add(bench.backend, x, y);
    add(bench.backend, x, y);
    CHECK(bench.read(y) == std::vector<double>{7, 9, 11});
    mix(bench.backend, 0.25f, x, y);
    CHECK(bench.read(y) == std::vector<double>{2.5, 3.75, 5});
    copy(bench.backend, x, y);
    CHECK(bench.read(y) == std::vector<double>{1, 2, 3});
  });
}

}  // namespace strata

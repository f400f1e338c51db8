// add_previous, its gradient and its step.
#include "backend/setups.hpp"

namespace strata {

TEST_CASE("the learned token shift equals the reference") {
  struct shape {
    index_type batch, length, dim;
    int shift;
  };
  for (const auto& [batch, length, dim, shift] :
       {shape{1, 1, 1, 1}, shape{2, 7, 37, 1}, shape{3, 5, 16, 2}, shape{2, 3, 9, 5}, shape{4, 300, 64, 4}}) {
    CAPTURE(batch, length, dim, shift);
    check_against_reference(1e-6, [&, batch = batch, length = length, dim = dim, shift = shift](auto& bench) {
      const auto x = bench.normal({batch, length, dim}), y = bench.unset({batch, length, dim});
      const auto share = bench.normal({dim});
      add_previous(bench.backend, x, share, shift, y);
      bench.result("y", y);
      const auto dy = bench.normal({batch, length, dim}), dx = bench.unset({batch, length, dim});
      const auto dshare = bench.normal({dim});
      add_previous_backward(bench.backend, x, share, shift, dy, dx, dshare);
      bench.result("dx", dx);
      bench.result("dshare", dshare);
      add_previous_backward(bench.backend, x, share, shift, dy, x, dshare);  // in place
      bench.result("dx in place", x);
      bench.result("dshare of both", dshare);
    });
  }
}

TEST_CASE("steps of the learned token shift equal the reference") {
  for (const index_type batch : {1, 3, 500})
    check_against_reference(1e-6, [&](auto& bench) {
      const auto share = bench.normal({70});
      const auto previous = bench.all(0, {batch, 70}), y = bench.unset({batch, 70});
      for (int t = 0; t < 3; ++t) {
        const auto x = bench.normal({batch, 70});
        add_previous_step(bench.backend, x, share, previous, y);
        bench.result("y", y);
      }
      bench.result("previous", previous);
    });
}

TEST_CASE("learned token shift: known values") {
  on_every_bench([](auto& bench) {
    const auto x = bench.of({1, 2, 3, 4, 5, 6}, {1, 3, 2}), y = bench.unset({1, 3, 2});
    const auto share = bench.of({10, 0.5}, {2}), dshare = bench.all(100, {2});
    add_previous(bench.backend, x, share, 1, y);
    CHECK(bench.read(y) == std::vector<double>{1, 2, 13, 5, 35, 8});
    add_previous(bench.backend, x, share, 2, y);
    CHECK(bench.read(y) == std::vector<double>{1, 2, 3, 4, 15, 7});
    const auto dy = bench.of({1, 1, 2, 2, 3, 3}, {1, 3, 2}), dx = bench.unset({1, 3, 2});
    add_previous_backward(bench.backend, x, share, 1, dy, dx, dshare);
    CHECK(bench.read(dx) == std::vector<double>{21, 2, 32, 3.5, 3, 3});
    CHECK(bench.read(dshare) == std::vector<double>{100 + 2 * 1 + 3 * 3, 100 + 2 * 2 + 3 * 4});
  });
}

}  // namespace strata

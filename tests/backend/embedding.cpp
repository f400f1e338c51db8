// embed, embed_backward.
#include "backend/setups.hpp"

namespace strata {

TEST_CASE("embedding equals the reference") {
  for (const index_type rows : {1, 17, 300, 5000})  // many rows use several groups of threads
    for (const index_type dim : {1, 37, 132}) {
      if (rows > 300 && dim > 37) continue;
      CAPTURE(rows, dim);
      const index_type vocabulary = 67;
      for (const update mode : {update::replace, update::add})
        check_against_reference(mode == update::add ? 1e-7 : 0, [&](auto& bench) {
          const auto ids = bench.tokens(-2, 66, {rows});
          const auto table = bench.normal({vocabulary, dim});
          const auto y = mode == update::add ? bench.normal({rows, dim}) : bench.unset({rows, dim});
          embed(bench.backend, ids, table, y, mode);
          bench.result("y", y);
        });
      check_against_reference(1e-6, [&](auto& bench) {
        const auto ids = bench.tokens(-2, 66, {rows});
        const auto dy = bench.normal({rows, dim}), dtable = bench.normal({vocabulary, dim});
        embed_backward(bench.backend, ids, dy, dtable);
        bench.result("dtable", dtable);
      });
    }
}

TEST_CASE("embedding: known values") {
  on_every_bench([](auto& bench) {
    const auto ids = bench.tokens_of({2, -1, 0, 2}, {4});
    const auto table = bench.of({1, 2, 3, 4, 5, 6}, {3, 2}), y = bench.unset({4, 2});
    embed(bench.backend, ids, table, y, update::replace);
    CHECK(bench.read(y) == std::vector<double>{5, 6, 0, 0, 1, 2, 5, 6});
    embed(bench.backend, ids, table, y, update::add);
    CHECK(bench.read(y) == std::vector<double>{10, 12, 0, 0, 2, 4, 10, 12});

    const auto dtable = bench.all(100, {3, 2}), dy = bench.of({1, 2, 3, 4, 5, 6, 7, 8}, {4, 2});
    embed_backward(bench.backend, ids, dy, dtable);
    CHECK(bench.read(dtable) == std::vector<double>{105, 106, 100, 100, 108, 110});
  });
}

}  // namespace strata

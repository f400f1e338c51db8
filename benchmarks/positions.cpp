// A step of training against the positions of a level that follows the text. The work of the level is that of its
// positions, so the time beyond that of a step with few positions should be proportional to them.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <span>
#include <vector>

#include "cpu_device.hpp"

namespace {

using strata::index_type, strata::token;

inline constexpr strata::boundary_rule at_zeros{"benchmarks::at_zeros",
                                                [](std::span<const token> last) { return last.back() == 0; }};
/// Almost all work is that of the inner level.
inline constexpr strata::description mostly_inner{
    .max_length = 1024,
    .depth = 6,
    .levels = {
        {.dim = 64, .heads = 2, .head_dim = 32, .window = 64, .before = 1, .after = 1},
        {.compression = 4, .stride = 4, .dim = 256, .heads = 8, .head_dim = 32, .window = 64, .boundaries = at_zeros}}};
using strata::facts;
using model = strata::transformer<mostly_inner, strata::cpu, strata::losses<>>;

constexpr index_type batch = 4, length = 1024;

/// Texts whose positions are `apart` tokens apart on average, each text with positions of its own.
std::vector<token> texts(index_type apart) {
  const strata::random_source random(7);
  std::vector<token> ids(batch * (length + 1));
  for (std::size_t n = 0; n < ids.size(); ++n)
    ids[n] = random.below(static_cast<std::uint64_t>(apart), 0, n) == 0
                 ? 0
                 : 1 + static_cast<token>(random.below(255, 1, n));
  return ids;
}
void step(model& own, const std::vector<token>& ids) {
  own.clear_gradients();
  own.accumulate_gradients({ids.data(), {batch, length + 1}});
}

/// Alternates with a step of few positions: what each position beyond these costs should always be the same.
void positions(benchmark::State& state) {
  strata::cpu backend;
  model own(backend, 1);
  const auto few = texts(64), many = texts(state.range(0));
  const auto counted = [&](const std::vector<token>& ids) {
    step(own, ids);
    return static_cast<double>(own.embeddings(1).shape[1]);
  };
  const double count = counted(many), more = count - counted(few);
  std::vector<double> microseconds;
  while (state.KeepRunning()) {
    const double without = measuring::fastest([&] { step(own, few); }, 1);
    const double with = measuring::fastest([&] { step(own, many); }, 1);
    microseconds.push_back(1e6 * (with - without) / more);
  }
  std::sort(microseconds.begin(), microseconds.end());
  state.counters["positions"] = count;
  state.counters["us_a_position"] = microseconds[microseconds.size() / 2];
}
BENCHMARK(positions)->Arg(2)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(15);

}  // namespace

BENCHMARK_MAIN();

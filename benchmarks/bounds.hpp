// What the machine can do, measured in the same run as what is compared with it.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

#include <strata/cpu.hpp>

namespace bounds {

namespace vector = strata::kernels::baseline::vector;

/// Seconds of one call of `work`: the fastest of several, since neighbours only ever make it slower.
template <class Work>
double fastest(Work work, int repetitions = 9) {
  double best = 1e30;
  for (int n = 0; n < repetitions; ++n) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

/// How long `second` takes over `first`. Both in turn, so that a busy neighbour meets both; the first calls, which touch all
/// memory, do not count.
template <class State, class First, class Second>
void compare_in_turn(State& state, First first, Second second) {
  first();
  second();
  std::vector<double> ratios;
  while (state.KeepRunning()) {
    const double before = fastest(first, 1);
    ratios.push_back(fastest(second, 1) / before);
  }
  std::sort(ratios.begin(), ratios.end());
  state.counters["median"] = ratios[ratios.size() / 2];
  state.counters["lower_quartile"] = ratios[ratios.size() / 4];
  state.counters["upper_quartile"] = ratios[ratios.size() * 3 / 4];
}

/// FLOP/s of multiply-adds in registers, on all threads of the backend. Measured at every call, since a neighbour may
/// disturb one; the best so far counts.
inline double peak_flops(strata::cpu& backend) {
  static std::map<int, double> known;
  double& peak = known[backend.threads()];
  using vector::floats;
  constexpr int chains = 12, rounds = 200'000;
  std::vector<float> results(static_cast<std::size_t>(16 * backend.threads()));
  const double seconds = fastest([&] {
    backend.pool().run([&](int thread) {
      floats total[chains], factor = vector::all(0.999f), term = vector::all(0.001f);
      for (int c = 0; c < chains; ++c) total[c] = vector::all(static_cast<float>(c));  // or one chain would do
      for (int n = 0; n < rounds; ++n) {
        vector::pin(factor);
        STRATA_UNROLL
        for (int c = 0; c < chains; ++c) total[c] = total[c] * factor + term;
      }
      for (int c = 1; c < chains; ++c) total[0] += total[c];
      results[static_cast<std::size_t>(16 * thread)] = vector::sum(total[0]);
    });
  });
  return peak = std::max(peak, 2.0 * chains * rounds * vector::lanes * backend.threads() / seconds);
}

/// Bytes a second, read and written together, of copying so that `bytes` move in all: small amounts stay in a cache. The
/// best of all calls counts.
inline double bandwidth(strata::cpu& backend, double bytes) {
  static std::map<std::pair<int, long>, double> known;
  double& rate = known[{backend.threads(), static_cast<long>(bytes)}];
  const auto count = static_cast<strata::index>(bytes / 2 / sizeof(float));
  strata::buffer<float> from(count), to(count);
  const double seconds = fastest([&] {
    backend.pool().run([&](int thread) {
      const strata::index begin = count * thread / backend.threads(), end = count * (thread + 1) / backend.threads();
      vector::for_each(end - begin, [&](strata::index n, auto load, auto store) {
        store(to.data() + begin + n, load(from.data() + begin + n));
      });
    });
  });
  return rate = std::max(rate, bytes / seconds);
}

/// Bytes a second of reading `bytes` of weights, as decoding does.
inline double read_bandwidth(strata::cpu& backend, double bytes) {
  const auto count = static_cast<strata::index>(bytes / sizeof(float));
  strata::buffer<float> from(count);
  std::vector<float> results(static_cast<std::size_t>(16 * backend.threads()));
  const double seconds = fastest([&] {
    backend.pool().run([&](int thread) {
      const strata::index begin = count * thread / backend.threads(), end = count * (thread + 1) / backend.threads();
      vector::floats total[4]{};
      for (strata::index n = begin; n + 4 * vector::lanes <= end; n += 4 * vector::lanes)
        for (int c = 0; c < 4; ++c) total[c] += vector::load(from.data() + n + c * vector::lanes);
      results[static_cast<std::size_t>(16 * thread)] = vector::sum(total[0] + total[1] + total[2] + total[3]);
    });
  });
  return bytes / seconds;
}

}  // namespace bounds
